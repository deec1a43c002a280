"""Makes `python -m jaxssl` the command `jaxssl`."""

from jaxssl.tools.main import main

if __name__ == "__main__":
    main()
