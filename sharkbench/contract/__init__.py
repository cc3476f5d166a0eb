"""What the author of a method uses: the method contract, workbench, budgets, pipelines, registry and check."""
