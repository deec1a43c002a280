"""NOT THE REAL FILE: the real one was overwritten by mistake and has to be written again.

At 09:28 the engineer of prepare.py/loader.py wrote a test fake through a symlink onto this path,
before this file was committed. No copy was found (no git object, no .pyc). Whoever writes
tokenizer.py: please write your version here again and commit it. Sorry.
"""

raise ImportError(__doc__)
