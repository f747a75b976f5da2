"""The feature directory against the released JSON, at 12 million rows, and extraction against the bare model.

    python benchmarks/features.py

Everything is made here: random features, drawn images, and a randomly initialised CLIP of ViT-B/32's size.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerFast

from kdmcse_hf.features.importers import ImportedImage, import_images
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.features.writer import FeatureWriter
from kdmcse_hf.teacher.extraction import ExtractionSettings, extract
from kdmcse_hf.teacher.sources.open_source import ListSource
from kdmcse_hf.teacher.teacher import Teacher

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETTINGS = {"teacher": {"name": "random"}, "source": {}, "options": {}}
OPEN = {
    "json": "import json; data = json.load(open(path))",
    "store": "from kdmcse_hf.features.store import FeatureStore; store = FeatureStore.open(path)",
    "store, every row read": "from kdmcse_hf.features.store import FeatureStore; store = FeatureStore.open(path); "
    "[store.rows(range(i, min(i + 64, len(store)))) for i in range(0, len(store), 64)]",
}


def random_images(count: int, width: int, captions: int = 1) -> list[ImportedImage]:
    """Images with random features and captions of ten words."""
    generator = np.random.default_rng(0)
    texts = [" ".join(["caption", "with", "words"] * 3) + f" {n}" for n in range(captions)]
    vectors = generator.normal(size=(count, 1 + captions, width)).astype(np.float16)
    return [ImportedImage(f"{row:06d}.jpg", vector[0], texts, vector[1:]) for row, vector in enumerate(vectors)]


def write_store(images: list[ImportedImage], path: pathlib.Path) -> None:
    """The features as a feature directory."""
    writer = FeatureWriter(path, SETTINGS)
    writer.finish(import_images(images, writer, images_per_shard=4096))


def measure_opening(kind: str, path: pathlib.Path) -> tuple[float, float]:
    """Seconds and MiB of resident memory that it takes a fresh process to open a file, imports aside."""
    code = (
        "import resource, time; import kdmcse_hf.feature_store\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        f"path = {str(path)!r}; before = resident(); start = time.perf_counter()\n{OPEN[kind]}\n"
        "print(time.perf_counter() - start, (resident() - before) / 2**20)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return float(output[0]), float(output[1])


def measure_import(source: pathlib.Path, output: pathlib.Path) -> tuple[float, float]:
    """Seconds, and MiB of memory at most, of importing the released JSON in a process of its own."""
    code = (
        "import pathlib, sys; from recipes import import_features\n"
        f"status = import_features.main(['--json', {str(source)!r}, '--output_dir', {str(output)!r}])\n"
        "peak = pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "print(int(peak) / 1024); sys.exit(status)"
    )
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return time.perf_counter() - start, float(result.stdout.split()[-1])


def compare_with_json(folder: pathlib.Path, count: int) -> None:
    """Size, opening time and memory for the same features, 768 wide, one caption per image as in the released file."""
    images = random_images(count, 768)
    content = {
        image.name: {
            "captions": image.captions,
            "image_feat": image.image_embeds.astype(np.float32).tolist(),
            "lang_feat": image.text_embeds.astype(np.float32).tolist(),
        }
        for image in images
    }
    (folder / "features.json").write_text(json.dumps(content))
    seconds, memory = measure_import(folder / "features.json", folder / "store")
    json_size = (folder / "features.json").stat().st_size / 2**20
    store_size = sum(file.stat().st_size for file in (folder / "store").rglob("*") if file.is_file()) / 2**20
    print(f"{count:,} captions, 768 wide: JSON {json_size:.1f} MiB, feature directory {store_size:.1f} MiB")
    print(f"  import: {seconds:.1f} s, {memory:.0f} MiB at most, imports included")
    for kind, path in (("json", "features.json"), ("store", "store"), ("store, every row read", "store")):
        seconds, memory = measure_opening(kind, folder / path)
        print(f"  {kind}: {seconds * 1000:.1f} ms, {memory:.1f} MiB")


def measure_scale(folder: pathlib.Path, num_rows: int) -> None:
    """Opening, and batches of 64, of a set of many rows: one shard of 4,096 images, linked as often as needed."""
    write_store(random_images(4096, 512, captions=5), folder / "scale")
    manifest = json.loads((folder / "scale" / "manifest.json").read_text())
    (shard,) = manifest["shards"]
    manifest["shards"] = []
    for number in range(-(-num_rows // shard["captions"]["rows"])):
        files = {}
        for table in ("captions", "images"):
            name = shard[table]["file"].replace("00000", f"{number:05d}")
            if number:
                os.link(folder / "scale" / shard[table]["file"], folder / "scale" / name)
            files[table] = {**shard[table], "file": name}
        manifest["shards"].append(files)
    (folder / "scale" / "manifest.json").write_text(json.dumps(manifest))
    seconds, memory = measure_opening("store", folder / "scale")
    store = FeatureStore.open(folder / "scale")
    print(
        f"{len(store):,} rows in {len(manifest['shards'])} shards: opened in {seconds * 1000:.0f} ms, {memory:.1f} MiB"
    )
    private = private_memory()
    generator = np.random.default_rng(0)
    for name in ("first 200 batches of 64, shards mapped on the way", "next 1,000 batches of 64"):
        times = []
        for indices in generator.integers(len(store), size=(200 if name.startswith("first") else 1000, 64)):
            start = time.perf_counter()
            store.rows(indices)
            times.append(time.perf_counter() - start)
        print(
            f"  {name}: median {statistics.median(times) * 1000:.2f} ms, 99 % {np.quantile(times, 0.99) * 1000:.2f} ms"
        )
    print(f"  private memory grew by {private_memory() - private:.1f} MiB over these batches")


def private_memory() -> float:
    """MiB of this process that are not pages of files, which the system takes back when it needs them (Linux)."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def make_teacher(folder: pathlib.Path) -> Teacher:
    """A CLIP of ViT-B/32's size with random weights and a tokenizer of a few words."""
    words = {"<bos>": 49406, "<eos>": 49407, "<unk>": 0, **{f"word{n}": n for n in range(1, 100)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<bos>", 49406), ("<eos>", 49407)]
    tokenizer.post_processor = processors.TemplateProcessing("<bos> $A <eos>", special_tokens=ends)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<eos>", eos_token="<eos>", model_max_length=77
    )
    fast.save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    return Teacher.load(str(folder), device="cuda" if torch.cuda.is_available() else "cpu")


def compare_with_forward(folder: pathlib.Path, count: int, batch_size: int, repeats: int, num_workers: int) -> None:
    """Rows a second of extraction, from JPEG files to shards, against the model on prepared inputs, turn by turn."""
    generator = np.random.default_rng(0)
    entries = []
    for number in range(count):
        coarse = generator.integers(0, 255, size=(12, 16, 3), dtype=np.uint8)
        file = folder / f"{number}.jpg"
        Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(file, quality=90)
        entries.append((file.name, file, [" ".join(f"word{n}" for n in generator.integers(1, 100, size=12))]))
    teacher, source = make_teacher(folder / "teacher"), ListSource(entries, count)
    images = [Image.open(entry[1]).convert("RGB") for entry in entries]
    starts = range(0, count, batch_size)
    pixels = [teacher.prepare_images(images[start : start + batch_size]) for start in starts]
    tokens = [
        teacher.prepare_texts([entry[2][0] for entry in entries[start : start + batch_size]]) for start in starts
    ]
    settings = ExtractionSettings(batch_size=batch_size, num_workers=num_workers)
    bare, ours = [], []
    for repeat in range(repeats):
        start = time.perf_counter()
        for images_batch, texts_batch in zip(pixels, tokens, strict=True):
            teacher.encode_images(images_batch)
            teacher.encode_texts(texts_batch)
        bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        writer = FeatureWriter(folder / f"extracted-{repeat}", SETTINGS)
        extract(source, teacher, writer, settings, [0], lambda *_: None)
        ours.append(time.perf_counter() - start)
    forward, extraction = (count / statistics.median(times) for times in (bare, ours))
    print(f"{count} images of 500 x 375, a caption each, batches of {batch_size}, {num_workers} decoding threads:")
    print(f"  model alone {forward:.1f} rows/s, extraction {extraction:.1f} rows/s: {extraction / forward:.3f} of it")


def main() -> None:
    """Run the three comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=30_000, help="of the comparison with JSON (%(default)s)")
    parser.add_argument("--rows", type=int, default=12_000_000, help="of the large set (%(default)s)")
    parser.add_argument("--images", type=int, default=128, help="to extract (%(default)s)")
    parser.add_argument("--batch_size", type=int, default=32, help="of the teacher (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of extraction and bare model (%(default)s)")
    parser.add_argument("--num_workers", type=int, default=2, help="decoding threads (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        compare_with_json(folder, arguments.captions)
        measure_scale(folder, arguments.rows)
        compare_with_forward(folder, arguments.images, arguments.batch_size, arguments.repeats, arguments.num_workers)


if __name__ == "__main__":
    main()
