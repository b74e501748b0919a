"""Random preference data, and what of it must survive a round trip."""

import json

from hypothesis import strategies as st

from skarm.io import read_comparisons, write_comparisons

texts = st.text(max_size=12) | st.sampled_from(
    ["", "\n", "a\r\nb", '"quoted", so', "  ", "é 時 🦉", "\u2028", "=1+1", "null", "7"]
)
names = st.text(st.characters(codec="ascii", min_codepoint=48), min_size=1, max_size=4)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": texts}
    ),
    max_size=3,
)


@st.composite
def preferences(
    draw,
    *,
    outcomes=(0.0, 0.5, 1.0),
    shares=False,
    across=False,
    messages=None,
    annotators=False,
    weights=False,
):
    """Preferences, as `read_comparisons` makes them of rows."""
    kind = texts if messages is None else texts | messages
    prompts = draw(st.lists(kind, min_size=1, max_size=3))
    answers = draw(st.lists(kind, min_size=2, max_size=5, unique_by=repr))
    y = st.sampled_from(outcomes)
    if shares:
        y = y | st.floats(0, 1)
    rows = []
    for number in range(draw(st.integers(1, 5))):
        first, second = draw(st.permutations(range(len(answers))))[:2]
        one, other = (draw(st.integers(0, len(prompts) - 1)) for _ in range(2))
        row = {
            "id": f"q{number}",
            "prompt_id": f"p{one}",
            "prompt": prompts[one],
            "first": answers[first],
            "second": answers[second],
            "note": draw(st.none() | names),
        }
        if across:
            row["second_prompt"] = prompts[other]
            row["second_prompt_id"] = f"p{other}"
        people = draw(st.integers(1, 3)) if annotators else 1
        for person in range(people):
            answer = {**row, "y": draw(y)}
            if annotators:
                answer["annotator"] = person
            if weights:
                answer["sample_weight"] = draw(st.none() | st.floats(0, 9))
                answer["margin"] = draw(st.none() | st.floats(-9, 9))
            rows.append(answer)
    return read_comparisons(rows)


def rows_of(data):
    """All there is in preferences, as rows that compare with ``==``."""
    return write_comparisons(data)


def winner_first(rows):
    """The same without unanswered pairs, the preferred response first."""
    swap = {"first": "second", "second": "first"}
    swap |= {"prompt": "second_prompt", "prompt_id": "second_prompt_id"}
    swap |= {value: name for name, value in swap.items()}
    turned = []
    for row in rows:
        if row["y"] is None:
            continue
        if row["y"] < 0.5:
            kept = {name: row[name] for name in row}
            for name in row:
                if name in ("first", "second") or "second_prompt" in row:
                    kept[name] = row.get(swap.get(name, name))
            row = {**kept, "y": 1.0 - row["y"]}
        turned.append(row)
    names = [n for n in turned[0] if any(row[n] is not None for row in turned)]
    return [{name: row[name] for name in names} for row in turned]


def through_json(rows):
    """What a file of JSON would give back."""
    return json.loads(json.dumps(rows))


def talk(prompt, *turns):
    """A conversation: the user asks, then both take turns."""
    roles = ["user", *["assistant", "user"] * len(turns)]
    contents = (prompt, *turns)
    return [
        {"role": role, "content": content}
        for role, content in zip(roles, contents, strict=False)
    ]
