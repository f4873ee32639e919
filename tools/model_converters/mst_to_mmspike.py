"""The old name of convert.py. It works for one release."""

import sys

from convert import main

if __name__ == '__main__':
    print('this command will be removed after the next release: use convert.py', file=sys.stderr)
    main()
