collect_ignore = ['toys']  # their tests run in a copy of the repository
