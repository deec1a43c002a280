"""One file for each family of networks: how its folders describe what jaxssl calls by other names."""
