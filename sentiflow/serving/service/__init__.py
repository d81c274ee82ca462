"""The HTTP service: it answers with the champion, and follows it when it changes.

A request passes ``connections`` (how many, how slow), ``edge`` (who may ask, methods, headers, metrics),
``uploads`` (its body, bounded), ``app`` (the paths) and ``batching`` (one thread that scores). ``watcher`` keeps
the champion in another thread.
"""
