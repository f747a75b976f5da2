"""Write model_cards/OBJECTIVE-STUDENT.md, a card for each family of recipes/configs.

python recipes/family_cards.py
"""

import argparse
import pathlib

from huggingface_hub import ModelCard, ModelCardData

from kdmcse_hf.card.recipe import hub_id
from kdmcse_hf.card.results import PAPER_NOTE, paper_rows
from kdmcse_hf.evaluation.tables import to_markdown
from kdmcse_hf.evaluation.tasks import STS_TASKS
from kdmcse_hf.files import read_yaml
from kdmcse_hf.model.objectives import OBJECTIVES

ROOT = pathlib.Path(__file__).resolve().parents[1]
STUDENTS = {"bert": "BERT", "roberta": "RoBERTa"}
FAMILIES = [(objective, student) for objective in ("simcse", "mcse", "kdmcse") for student in STUDENTS]
WHAT = {
    "simcse": ": two dropout views of a sentence attract each other, the other sentences of the batch are negatives; "
    "captions, where there are any, are read as plain text",
    "mcse": ": SimCSE on Wikipedia, and on captions beside it a contrastive loss between sentence and image",
    "kdmcse": ": SimCSE on Wikipedia, and on captions beside it contrastive losses against a frozen CLIP's features "
    "of image and caption, which filter false negatives and set an adaptive angular margin",
}
NEEDS = {"simcse": "captions", "mcse": "ResNet-50 or CLIP features", "kdmcse": "CLIP features"}
CAPTIONS = {"flickr": "Flickr30k", "coco": "MS-COCO"}


def main() -> None:
    """Write all cards."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for objective, student in FAMILIES:
        path = ROOT / "model_cards" / f"{objective}-{student}.md"
        family_card(objective, student).save(path)
        print(path.relative_to(ROOT))


def family_card(objective: str, student: str) -> ModelCard:
    """The card of all recipes of one objective and student."""
    paths = sorted((ROOT / "recipes" / "configs").glob(f"{objective}-*.yaml"))
    paths = [path for path in paths if student in path.stem.split("-")]
    recipes = {path.stem: read_yaml(path) for path in paths}
    values = next(iter(recipes.values()))
    base = values["model_name_or_path"]
    paper = paper_rows(objective, base)
    seen = [name for word, name in CAPTIONS.items() if any(word in stem for stem in recipes)]
    return ModelCard.from_template(
        ModelCardData(
            language="en",
            library_name="sentence-transformers",
            pipeline_tag="sentence-similarity",
            base_model=base,
            datasets=[hub_id(values["text_dataset"])],
            tags=["sentence-transformers", "kdmcse", f"loss:{OBJECTIVES[objective].label}"],
        ),
        template_path=str(ROOT / "model_cards" / "family.md"),
        objective=OBJECTIVES[objective].label,
        student=STUDENTS[student],
        base_model=base,
        what=WHAT[objective],
        needs=NEEDS[objective],
        captions=" and ".join(seen),
        descriptions=to_markdown([["recipe", "what it is"], *map(_described, paths)]),
        recipes=list(recipes),
        paper_table=to_markdown([["Model", *STS_TASKS, "Avg."], *paper]),
        paper_note=PAPER_NOTE,
        **value_tables(recipes),
    )


def value_tables(recipes: dict[str, dict]) -> dict[str, str]:
    """Keys whose values the recipes share, and those in which they differ, as Markdown tables."""
    keys = list(dict.fromkeys(key for values in recipes.values() for key in values if key != "output_dir"))
    rows = {key: [_shown(values.get(key, "-")) for values in recipes.values()] for key in keys}
    common = [[f"`{key}`", cells[0]] for key, cells in rows.items() if len(set(cells)) == 1]
    differing = [[f"`{key}`", *cells] for key, cells in rows.items() if len(set(cells)) > 1]
    return {
        "common": to_markdown([["key", "value"], *common]),
        "differing": to_markdown([["key", *recipes], *differing]),
    }


def _described(path: pathlib.Path) -> list[str]:
    """A recipe's name, and what its first line says of it."""
    return [f"`{path.stem}`", path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")]


def _shown(value) -> str:
    return "null" if value is None else str(value)


if __name__ == "__main__":
    main()
