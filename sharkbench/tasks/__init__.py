"""What is predicted and how it is evaluated: a file or a folder per task, its settings light, its arithmetic imported
when it is asked for. Everything else asks the task, or the result that states its metrics."""
