"""Cases of settings in YAML and of values on the command line, from their declared ranges."""

import math
from collections.abc import Mapping

import hypothesis.strategies as st
import yaml
from hostile import Case
from hostile_values import ODD, foreign_bytes

from kdmcse_hf.ranges import Range, Steps


@st.composite
def settings_files(draw) -> Case:
    """YAML of a training run."""
    good = {"learning_rate": 1e-5, "margin": 0.1, "seed": 3, "pooling": "cls"}
    how = draw(st.sampled_from(["valid", "bytes", "odd", "text"]))
    whole = yaml.safe_dump(good).encode()
    if how == "valid":
        return Case({"a.yaml": whole}, refused=False)
    if how == "bytes":
        content, refused = draw(foreign_bytes(whole))
        return Case({"a.yaml": content}, ("a.yaml", *good, "did you mean"), refused if content else None)
    if how == "text":
        content = draw(
            st.sampled_from(
                [
                    "seed: 1\nseed: 2\n",
                    "- seed\n",
                    "seed\n",
                    "3\n",
                    "seed: &a [*a]\n",
                    "? [1]\n: 2\n",
                    "? {a: 1}\n: 2\n",
                    "seed: !!python/object/apply:os.getcwd []\n",
                    "{" * 500,
                    "seed: " + "[" * 3000,
                    "seed: 2020-01-01\n",
                    "3: 4\n",
                    "null: 4\n",
                    "sed: 4\n",
                    "seed: [1, --max_steps, 3]\n",
                    "seed: {a: 1}\n",
                    "a: b: c\n",
                    "\tseed: 1\n",
                ]
            )
        )
        return Case({"a.yaml": content.encode()}, ("a.yaml", "seed"))
    key = draw(st.sampled_from(["learning_rate", "margin", "seed", "pooling"]))
    odd = draw(st.sampled_from([name for name in ODD if name not in ("number", "fraction", "null", "date", "half")]))
    refused = (
        None
        if (key, odd) in (("learning_rate", "negative"), ("seed", "negative"), ("learning_rate", "true"))
        else True
    )
    return Case({"a.yaml": f"{key}: {ODD[odd]}\n".encode()}, ("a.yaml", key), refused)


def _outside(of: Range) -> list[str]:
    """Texts that a value may not be, by its declared range."""
    if of.type is bool:
        return ["maybe", "2", "3.5"]
    if of.type is str:
        return ["hostile"] if of.choices else ["", " "]
    out = ["nan", "inf", "-inf", "1e999", "hostile", "[]", "{}", "1,5", "9" * 5000]
    if of.type is int:
        out += ["0.5", "1e3"]
    if isinstance(of, Steps):
        out += ["0", "-1", "1.5", "-0.5"]
    small = 1 if of.type is int else 1e-9
    for limit, step in (
        (of.least, -small),
        (of.least, -1),
        (of.above, 0),
        (of.above, -1),
        (of.below, 0),
        (of.most, 1),
    ):
        if limit is not None and limit + step != of.off:
            out.append(str(of.type(limit + step)))
    return out


def _inside(of: Range) -> st.SearchStrategy[str]:
    """Texts that a value of an objective may be."""
    if of.type is bool:
        return st.sampled_from(["true", "false"])
    if of.type is str:
        return st.sampled_from(of.choices)
    low, high = max(of.least or 0, of.above or 0), of.below or 50
    if of.type is int:
        return st.integers(math.ceil(low), int(high)).map(str)
    floats = st.floats(low, high, exclude_min=of.above is not None, exclude_max=of.below is not None)
    return floats.filter(lambda each: each == 0 or each > 1e-6).map(str)


@st.composite
def declared_values(draw, ranges: Mapping[str, Range], is_alone: bool) -> Case:
    """Each argument on the command line beyond its declared range, and within where that depends on no other."""
    name = draw(st.sampled_from(sorted(ranges)))
    allowed = ranges[name]
    if is_alone and draw(st.booleans()):
        return Case(words=(f"--{name}={draw(_inside(allowed))}",), refused=False)
    return Case(words=(f"--{name}={draw(st.sampled_from(_outside(allowed)))}",), says=(name,))


@st.composite
def numbers(draw, names: list[str]) -> Case:
    """Whole numbers of a command as something else."""
    text = draw(st.sampled_from(["hostile", "-1", "nan", "inf", "[]", "9" * 5000, "1.5", "", "٣x"]))
    name = draw(st.sampled_from(names))
    is_seed = name.endswith("seed") and text in ("-1", "9" * 5000)
    return Case(words=(f"--{name}={text}",), says=(name,), refused=None if is_seed else True)
