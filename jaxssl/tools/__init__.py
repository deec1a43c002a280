"""The command `jaxssl`: one subcommand a module."""
