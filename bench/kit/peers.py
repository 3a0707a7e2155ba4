"""The tools that people use today, over the same pipe into the same sink, where they are installed."""


def add_uploads(contest, context, target, feeder, size, tls):
    """Nothing yet."""
