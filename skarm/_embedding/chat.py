"""Prompts and responses written as a chat model reads them."""

from skarm._embedding.sentence_models import load_tokenizer

__all__ = ["render_chat"]


def render_chat(prompts, responses, model, *, chat_template=None, **options):
    r"""Write prompts with their responses as a chat model reads them.

    The texts are items: give them to :class:`~skarm.Comparisons`, and embed them by
    ``SentenceEmbedder(model)``. Its tokens are those of the model's own chat template.

    Parameters
    ----------
    prompts : sequence of str, or of lists of messages
        What was asked: what the user wrote ("" for nothing), or a conversation so far,
        as dicts with ``role`` and ``content``.
    responses : sequence of str, or of lists of messages
        What was answered, one per prompt: text of the assistant, or messages.
    model : str, path-like, tokenizer or SentenceTransformer
        Whose template to use: a folder, a published name, or an object.
    chat_template : str, default=None
        Jinja template to use instead.
    **options
        More that the template knows, such as ``enable_thinking=False``. Where it
        writes today's date, fix it here: else tomorrow's texts are new ones.

    Returns
    -------
    texts : list of str
        One per prompt. The mark that begins a text is left out where the tokenizer
        will add it.

    Raises
    ------
    OSError
        If the tokenizer cannot be loaded.
    ValueError
        If the numbers of prompts and responses differ, or the template is missing or
        refuses a conversation.

    Examples
    --------
    >>> from skarm.text import render_chat
    >>> render_chat(["2 + 2?"], ["4"], "path/of/a/chat/model")  # doctest: +SKIP
    ['<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n']
    """
    from jinja2 import TemplateError  # comes with torch

    if len(prompts) != len(responses):
        raise ValueError(
            "prompts and responses must have one entry per text. Got "
            f"{len(prompts)} prompts and {len(responses)} responses. Repeat each "
            "prompt for each of its responses."
        )
    tokenizer = load_tokenizer(model)
    if not (chat_template or getattr(tokenizer, "chat_template", None)):
        raise ValueError(
            f"model must have a chat template. Got {_name(model)}, whose tokenizer has "
            "none. Pass chat_template, or a chat model."
        )
    texts = []
    for number, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        chat = [*_messages(prompt, "user"), *_messages(response, "assistant")]
        try:
            text = tokenizer.apply_chat_template(
                chat, chat_template=chat_template, tokenize=False, **options
            )
        except TemplateError as error:
            raise ValueError(
                "Every conversation must be one that the chat template accepts. It "
                f"refuses number {number}: {error}. Change the roles, or pass another "
                "chat_template."
            ) from error
        texts.append(text)
    first = getattr(tokenizer, "bos_token", None)
    if first and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]:
        texts = [text.removeprefix(first) for text in texts]
    return texts


def _messages(said, role):
    if not isinstance(said, str):
        return list(said)
    return [{"role": role, "content": said}] if said or role == "assistant" else []


def _name(model):
    return repr(model) if isinstance(model, str) else type(model).__name__
