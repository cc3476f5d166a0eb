"""What an author of a method touches: the contract, the workbench, sizing, pipelines, the registry and the check."""
