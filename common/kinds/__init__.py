"""The kinds of requests: a package for each, and the registry that says where it is."""
