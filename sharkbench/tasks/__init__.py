"""Tasks: what is predicted and how it is evaluated; a file or a folder per task.

Settings are light; the computations are imported on demand. All other code asks the task for its metrics, or the result
that stores them.
"""
