"""Small stand-ins for published sets, in the folders, files and fields that their archives unpack to.

Flickr30k Entities and its images, Karpathy's split files, COCO 2014, MCSE's and KDMCSE's released feature files,
Wiki1M and SentEval. Images show coloured shapes and have five captions each, as the real ones have people and dogs.
"""

import json
import pathlib
import random

import numpy as np
import tiny
from PIL import Image, ImageDraw

from kdmcse_hf.evaluation.senteval import SICK_FILES, STSB_FILES, YEARS

COLOURS = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple")
SHAPES = {"circle": "ellipse", "square": "rectangle"}


def draw(path: pathlib.Path, generator: random.Random) -> list[str]:
    """Draw one JPEG, and return five captions of it."""
    ground, colour = generator.sample(COLOURS, 2)
    shape = generator.choice(list(SHAPES))
    image = Image.new("RGB", (generator.randint(40, 90), generator.randint(40, 90)), ground)
    left, top = generator.randint(0, 15), generator.randint(0, 15)
    getattr(ImageDraw.Draw(image), SHAPES[shape])((left, top, left + 25, top + 25), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    thing = f"{colour} {shape}"
    return [
        f"A {thing} on {ground} .",
        f"The {shape} is {colour} .",
        f"A picture of a {thing} .",
        f"An image of {ground} with a {thing} .",
        f"On {ground} is a {thing} .",
    ]


def write_flickr30k(folder: pathlib.Path, train: int, karpathy_train: int, others: int) -> dict[str, list[str]]:
    """Flickr30k: `flickr30k-images/`, `results_20130124.token`, `flickr30k_entities/`, `dataset_flickr30k.json`.

    Args:
        folder: where they are unpacked.
        train: images of Entities' train.txt.
        karpathy_train: the first of these that Karpathy's file has in its train split; it lacks the rest.
        others: images of val.txt and of test.txt, each.

    Returns:
        The five captions of each training image, by its name.
    """
    generator = random.Random(30)
    ids = {f"{generator.randrange(10**6, 10**10)}" for _ in range(10 * (train + 2 * others))}
    ids = sorted(ids)[: train + 2 * others]
    captions = {each: draw(folder / "flickr30k-images" / f"{each}.jpg", generator) for each in ids}
    splits = {"train": ids[:train], "val": ids[train : train + others], "test": ids[train + others :]}
    lines = [f"{each}.jpg#{number}\t{text}" for each, texts in captions.items() for number, text in enumerate(texts)]
    (folder / "results_20130124.token").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_entities(folder / "flickr30k_entities", captions, splits)
    karpathy = {"train": splits["train"][:karpathy_train], "val": splits["val"], "test": splits["test"]}
    images = [
        _karpathy_image(number, f"{each}.jpg", split, captions[each])
        for number, (split, each) in enumerate((split, each) for split, found in karpathy.items() for each in found)
    ]
    content = {"images": images, "dataset": "flickr30k"}
    (folder / "dataset_flickr30k.json").write_text(json.dumps(content), encoding="utf-8")
    return {f"{each}.jpg": captions[each] for each in splits["train"]}


def _write_entities(folder: pathlib.Path, captions: dict[str, list[str]], splits: dict[str, list[str]]) -> None:
    """The repository flickr30k_entities after `unzip annotations.zip`: phrases in brackets with chain and type."""
    (folder / "Sentences").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for each, texts in captions.items():
        marked = []
        for text in texts:
            words = text.split()
            marked.append(f"[/EN#{len(marked)}/other {words[0]} {words[1]}] {' '.join(words[2:])}")
        (folder / "Sentences" / f"{each}.txt").write_text("\n".join(marked) + "\n", encoding="utf-8")
        size = "<size><width>60</width><height>60</height><depth>3</depth></size>"
        (folder / "Annotations" / f"{each}.xml").write_text(f"<annotation>{size}</annotation>")
    for split, ids in splits.items():
        (folder / f"{split}.txt").write_text("".join(f"{each}\n" for each in ids))


def _karpathy_image(number: int, name: str, split: str, captions: list[str], **more) -> dict:
    sentences = [
        {"tokens": text.lower().split()[:-1], "raw": text, "imgid": number, "sentid": 5 * number + place}
        for place, text in enumerate(captions)
    ]
    sentids = [sentence["sentid"] for sentence in sentences]
    image = {"sentids": sentids, "imgid": number, "sentences": sentences, "split": split, "filename": name}
    return {**image, **more}


def write_coco(folder: pathlib.Path, train: int, others: int) -> dict[str, list[str]]:
    """COCO 2014: `train2014/`, `val2014/`, `annotations/captions_train2014.json`, and Karpathy's `dataset_coco.json`.

    Returns:
        The captions of each image of train2014, by its name, in the order of the annotation file.
    """
    generator = random.Random(2014)
    captions, images = {}, {"train2014": [], "val2014": []}
    for year, count in (("train2014", train), ("val2014", others)):
        for number in generator.sample(range(1, 580_000), count):
            name = f"COCO_{year}_{number:012d}.jpg"
            captions[name] = draw(folder / year / name, generator)
            images[year].append({"license": 3, "file_name": name, "height": 60, "width": 60, "id": number})
    annotations = [
        {"image_id": image["id"], "id": 10 * image["id"] + place, "caption": captions[image["file_name"]][place]}
        for place in range(5)  # the captions of one image do not stand together in the real file either
        for image in images["train2014"]
    ]
    content = {"info": {"year": 2014}, "images": images["train2014"], "licenses": [], "annotations": annotations}
    (folder / "annotations").mkdir()
    (folder / "annotations" / "captions_train2014.json").write_text(json.dumps(content), encoding="utf-8")
    karpathy = [
        _karpathy_image(0, image["file_name"], split, captions[image["file_name"]], filepath=year, cocoid=image["id"])
        for year, split in (("train2014", "train"), ("val2014", "restval"))
        for image in images[year]
    ]
    (folder / "dataset_coco.json").write_text(json.dumps({"images": karpathy, "dataset": "coco"}), encoding="utf-8")
    return {image["file_name"]: captions[image["file_name"]] for image in images["train2014"]}


def write_mcse_files(folder: pathlib.Path, name: str, captions: dict[str, list[str]], width: int = 2048) -> None:
    """MCSE's released `NAME_random_captions.txt`, a caption of each image, and `NAME_resnet.hdf5`, its features."""
    import h5py

    generator = np.random.default_rng(5)
    chosen = [texts[generator.integers(len(texts))] for texts in captions.values()]
    (folder / f"{name}_random_captions.txt").write_text("\n".join(chosen), encoding="utf-8")
    # ResNet-50's features follow a ReLU and a mean: none is negative.
    features = generator.normal(size=(len(captions), width)).clip(min=0).astype(np.float32)
    with h5py.File(folder / f"{name}_resnet.hdf5", "w") as file:
        file.create_dataset("features", data=features)


def write_released_json(path: pathlib.Path, captions: dict[str, list[str]], width: int = 768) -> None:
    """KDMCSE's released feature file: features and captions of each image, not normalised."""
    generator = np.random.default_rng(7)
    content = {
        name: {
            "image_feat": generator.normal(scale=0.4, size=width).tolist(),
            "captions": texts,
            "lang_feat": generator.normal(scale=0.3, size=(len(texts), width)).tolist(),
        }
        for name, texts in captions.items()
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def write_wiki(folder: pathlib.Path, rows: int) -> pathlib.Path:
    """`wiki1m_for_simcse.txt`, a sentence a line."""
    path = folder / "wiki1m_for_simcse.txt"
    path.write_text("\n".join(tiny.sentences(rows, seed=9)) + "\n", encoding="utf-8")
    return path


def write_senteval(folder: pathlib.Path, pairs: int = 6) -> pathlib.Path:
    """SentEval's STS sets as `senteval.tar` unpacks: input and gold files a subset, STS-B's and SICK's own tables."""
    seed = 0
    for task, subsets in YEARS.items():
        (folder / "STS" / f"{task}-en-test").mkdir(parents=True)
        for subset in subsets:
            rows, seed = tiny.pairs(pairs, seed=seed), seed + 1
            sentences = [f"{row['sentence1']}\t{row['sentence2']}" for row in rows]
            for kind, lines in (("input", sentences), ("gs", [f"{row['score']:.3f}" for row in rows])):
                path = folder / "STS" / f"{task}-en-test" / f"STS.{kind}.{subset}.txt"
                path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "STS" / "STSBenchmark").mkdir()
    for name in STSB_FILES.values():
        rows, seed = tiny.pairs(pairs, seed=seed), seed + 1
        lines = [f"g\tf\ty\t0\t{row['score']:.3f}\t{row['sentence1']}\t{row['sentence2']}" for row in rows]
        (folder / "STS" / "STSBenchmark" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "SICK").mkdir()
    for name in SICK_FILES.values():
        rows, seed = tiny.pairs(pairs, seed=seed), seed + 1
        lines = ["pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"]
        for number, row in enumerate(rows):
            score = 1 + 0.8 * row["score"]
            lines.append(f"{number}\t{row['sentence1']}\t{row['sentence2']}\t{score:.2f}\tNEUTRAL")
        (folder / "SICK" / name).write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    return folder
