"""The benchmark of a GPU on a CPU: every row runs, its checks find faults, its sentences are as long as said."""

import argparse
import re
import sys
from unittest import mock

import pytest
import tiny
import torch
from paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # last: its evaluate.py must not hide the library

import gpu
import gpu_checks
import gpu_setting
from gpu_checks import compare, find_dropout_fault

from kdmcse_hf.encoding.kernels import sdpa_by_length, sdpa_jagged
from kdmcse_hf.encoding.slots import sdpa_in_slots

CPU = torch.device("cpu")
WORDS = ["gpu.py", "--device", "cpu", "--encoder", "tiny-shape", "--batch_size", "4", "--steps", "1", "--warm_up", "1"]


def start(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", [*WORDS, *words])
    monkeypatch.setattr(gpu, "STSB_PAIRS", 20)
    return gpu.main()


def cells_of(text: str) -> list[list[str]]:
    rows = [
        line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| (float32|TF32|bfloat16) ", line)
    ]
    return [[cell.strip() for cell in row] for row in rows]


def test_all_rows_run_on_a_cpu(monkeypatch, capsys):
    """With a compiler that compiles nothing, which would take minutes."""
    assert start(monkeypatch, "--backend", "eager") == 0
    printed = capsys.readouterr().out
    assert "packed in slots, bfloat16, captions against the padded CPU, float32: loss" in printed
    assert "sdpa_jagged, float32                as attention written out, with its dropout\n" in printed
    table = printed[printed.index("| precision |") :]
    rows = cells_of(table)
    assert [row[:2] for row in rows] == [[precision, way] for precision in ("float32", "bfloat16") for way in gpu.WAYS]
    went = [row[2] for row in rows]
    assert went[:3] == ["padded: as asked", "sdpa_by_length, packed", "sdpa_in_slots, packed"]
    for row in rows:
        step, tokens, evaluation, run = (float(cell.replace(",", "")) for cell in (row[3], row[4], row[-2], row[-1]))
        assert min(step, tokens, evaluation) > 0
        assert run == pytest.approx((54_687 * step / 1000 + 438 * evaluation) / 60, rel=0.02, abs=0.1)
    assert "54,687 such steps and 438 evaluations" in printed
    assert len(table.splitlines()) == 8, "the table is the end"


def test_a_row_that_fails_leaves_the_others(monkeypatch, capsys):
    def measure(arguments, precision, way, folder):
        if way == "packed":
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return gpu.Figures(way, 0.0089, 0.2, 2800, 0.406, 1.5)

    monkeypatch.setattr(gpu, "measure", measure)
    monkeypatch.setattr(gpu, "check_device", lambda *arguments: [])
    assert start(monkeypatch) == 1
    rows = cells_of(capsys.readouterr().out)
    assert rows[0] == ["float32", "padded", "padded", "8.90", "314,607", "40.6%", "1.50", "0.200", "9.6"]
    assert rows[1][2] == "failed: OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"


def test_nothing_is_measured_where_numbers_are_wrong(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "check_device", lambda *arguments: ["its numbers are wrong"])
    monkeypatch.setattr(gpu, "measure", mock.Mock(side_effect=AssertionError))
    assert start(monkeypatch) == 1
    assert capsys.readouterr().out.endswith("WRONG:\n  its numbers are wrong\n")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_it(monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        start(monkeypatch, "--device", "cuda")
    assert (end.value.code, "--device cpu --encoder tiny-shape" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(
    ("card", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA A100-SXM4-40GB", 312e12), ("X", None)],
)
def test_the_peak_is_that_of_the_card(card, peak, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: card)
    assert gpu.card_peak(torch.device("cuda"), "bfloat16") == peak
    assert gpu.card_peak(CPU, "bfloat16") is None


@pytest.mark.parametrize(
    ("lengths", "mean", "cut_mean"),
    # Means over the real sentences, counted apart from the twentieths; cut at 32 tokens as in training.
    [(gpu_setting.WIKI, 25.21, 21.90), (gpu_setting.CAPTIONS, 15.99, 15.89), (gpu_setting.STSB_DEV, 16.41, 16.23)],
)
def test_made_sentences_are_as_long_as_the_real_ones(lengths, mean, cut_mean):
    tokenizer = gpu_setting.make_tokenizer(gpu_setting.SHAPES["tiny-shape"])
    sentences = gpu_setting.make_sentences(lengths, 5000, tokenizer, seed=0)
    tokens = tokenizer(sentences)["input_ids"]
    found = torch.tensor([len(ids) for ids in tokens]).float()
    assert found.mean() == pytest.approx(mean, rel=0.06)
    assert found.clamp(max=32).mean() == pytest.approx(cut_mean, rel=0.03)
    assert {ids[0] for ids in tokens} | {ids[-1] for ids in tokens} == {1, 2}
    assert tokenizer.pad_token_id not in {number for ids in tokens for number in ids}


def test_operations_are_counted_over_the_matrices_of_the_layers():
    model = gpu_setting.make_model(gpu_setting.SHAPES["tiny-shape"], packed=True)
    assert gpu_setting.layer_weights(model) == 2 * (4 * 64 * 64 + 2 * 64 * 128)


class TestDropout:
    """Kernels that the check must find."""

    def test_the_packages_kernels_pass(self):
        for kernel in (sdpa_by_length, sdpa_jagged, sdpa_in_slots):
            for dtype in (torch.float32, torch.bfloat16):
                assert find_dropout_fault(kernel, CPU, dtype) is None

    @staticmethod
    def on_output(query, key, value, queries, keys, dropout):
        return torch.dropout(sdpa_by_length(query, key, value, queries, keys), dropout, True)

    @staticmethod
    def unscaled(query, key, value, queries, keys, dropout):
        return sdpa_by_length(query, key, value, queries, keys, dropout) * (1 - dropout)

    @staticmethod
    def too_seldom(query, key, value, queries, keys, dropout):
        return sdpa_by_length(query, key, value, queries, keys, dropout / 2)

    @staticmethod
    def same_in_each_sentence(query, key, value, queries, keys, dropout):
        length, count = keys.lengths[0], len(keys.lengths)
        mask = torch.dropout(torch.ones(length, query.shape[1], length), dropout, True)
        parts = value.unflatten(0, (count, length))
        return torch.einsum("qhk,skhd->sqhd", mask / length, parts).flatten(0, 1)

    @staticmethod
    def other_gradient(query, key, value, queries, keys, dropout):
        seen = sdpa_by_length(query, key, value.detach(), queries, keys, dropout)
        other = sdpa_by_length(query, key, value, queries, keys, dropout)
        return seen + other - other.detach()

    @pytest.mark.parametrize(
        ("kernel", "fault"),
        [
            ("on_output", "it drops parts of the output, not probabilities"),
            ("unscaled", "it does not scale up what it keeps"),
            ("too_seldom", r"it drops 0\.05\d of the probabilities"),
            ("same_in_each_sentence", "it drops the same in several"),
            ("other_gradient", "its gradient drops other probabilities than its output"),
        ],
    )
    def test_what_would_change_the_method_is_found(self, kernel, fault):
        assert re.match(fault, find_dropout_fault(getattr(self, kernel), CPU, torch.float32) or "nothing")

    def test_a_kernel_that_is_used_and_wrong_is_a_fault(self, monkeypatch, capsys):
        monkeypatch.setattr(gpu_checks, "find_dropout_fault", lambda *arguments: "it drops nothing")
        faults = gpu_checks.check_kernels(CPU)
        used = [
            f"{kernel}, {dtype}" for dtype in ("float32", "bfloat16") for kernel in ("sdpa_by_length", "sdpa_in_slots")
        ]
        assert faults == [f"{name}: it drops nothing" for name in used]


def test_a_row_that_was_not_packed_says_so_and_why(tmp_path):
    """MPNet takes no packed rows, compiled or not."""
    tiny.CONFIGS["mpnet"].save_pretrained(tmp_path)
    values = {"device": CPU, "batch_size": 4, "steps": 1, "warm_up": 1}
    arguments = argparse.Namespace(encoder=str(tmp_path), **values)
    found = gpu.measure(arguments, "float32", "packed", str(tmp_path / "run"))
    assert found.went == "padded: its family does not use transformers' AttentionInterface"
    assert gpu.describe(mock.Mock(), {True, False}).startswith("partly padded")


def test_losses_and_gradients_that_differ_are_named(capsys):
    expected = ({"loss": 2.0, "simcse_loss": 4.0}, {"a": torch.ones(9), "b": torch.full((9,), 1e-9)})
    rounded = ({"loss": 2.0, "simcse_loss": 4.00001}, {"a": torch.ones(9), "b": torch.full((9,), 2e-9)})
    assert compare("same", rounded, expected, (1e-4, 1e-3)) == []
    wrong = ({"loss": 2.0, "simcse_loss": 4.1}, {"a": torch.full((9,), 1.01), "b": torch.full((9,), float("nan"))})
    faults = compare("wrong", wrong, expected, (1e-4, 1e-3))
    assert [fault.split(" differs")[0] for fault in faults] == ["wrong: loss simcse_loss", "wrong: gradient b"]
