"""The subcommands that use a trained network, one a module: they take a run or an imported folder."""
