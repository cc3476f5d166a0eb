"""What is predicted and how it is evaluated: a file or a folder per task.

Settings are light, their arithmetic is imported when it is asked for. Everything else asks the task, or the result that
states its metrics.
"""
