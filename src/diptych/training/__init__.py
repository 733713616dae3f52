"""Everything that a run of training needs: settings, folder, checkpoints, loop."""
