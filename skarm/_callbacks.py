"""scikit-learn's callbacks on a fit, where its version has them (1.9 and later)."""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:
        """Nothing to support yet."""

    def with_callbacks(method):
        """The method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "rounds", "with_callbacks"]


@contextmanager
def rounds(estimator, n_rounds):
    """Tell the callbacks of an estimator about the rounds of its fit.

    Gives a generator of rounds, at most `n_rounds`, that ends when a callback says so.
    """
    if not hasattr(estimator, "_init_callback_context"):
        yield range(n_rounds)
        return
    task = estimator._init_callback_context(max_subtasks=n_rounds)
    task.call_on_fit_task_begin(estimator=estimator)

    def each():
        for n in range(n_rounds):
            step = task.subcontext(task_name="round")
            step.call_on_fit_task_begin(estimator=estimator)
            yield n
            if step.call_on_fit_task_end(estimator=estimator):
                break

    yield each()
    task.call_on_fit_task_end(estimator=estimator)
