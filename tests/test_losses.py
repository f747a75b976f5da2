"""The losses against the paper's loops, finite differences, recorded numbers of the released code, and their laws."""

import math

import hypothesis.strategies as st
import pytest
import reference
import torch
import warm
from hypothesis import given, settings
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kdmcse_hf.losses import ArcCSELoss, KDMCSELoss, ListNetLoss, MCSELoss, SimCSELoss, cosine_similarity, rotate

ROWS, WIDTH, TEACHER = 7, 5, 6
INPUTS = ("s1", "s2", "image", "text", "teacher_image", "teacher_text")


def vectors(seed: int, rows: int = ROWS, dtype=torch.float64) -> dict[str, torch.Tensor]:
    """Random inputs whose first caption resembles the second, so that a threshold has something to filter."""
    generator = torch.Generator().manual_seed(seed)
    widths = dict.fromkeys(INPUTS, WIDTH) | {"teacher_image": TEACHER, "teacher_text": TEACHER}
    inputs = {name: torch.randn(rows, width, generator=generator).to(dtype) for name, width in widths.items()}
    for name in ("teacher_image", "teacher_text"):
        inputs[name][1] = inputs[name][0] + 0.1 * inputs[name][1]
        inputs[name].mul_(0.4)
    inputs["teacher_image"] += inputs["teacher_text"]
    return {name: value.requires_grad_(not name.startswith("teacher")) for name, value in inputs.items()}


def gradients(loss: torch.Tensor, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    used = [value for value in inputs.values() if value.requires_grad]
    return torch.autograd.grad(loss, used, retain_graph=True, allow_unused=True, materialize_grads=True)


def assert_same(ours: torch.Tensor, slow: torch.Tensor, inputs: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(ours, slow, rtol=1e-9, atol=1e-12)
    for ours_gradient, slow_gradient in zip(gradients(ours, inputs), gradients(slow, inputs), strict=True):
        torch.testing.assert_close(ours_gradient, slow_gradient, rtol=1e-7, atol=1e-9)
    assert any(gradient.abs().max() > 1e-6 for gradient in gradients(ours, inputs))


READINGS = {
    "paper": (KDMCSELoss.paper, reference.kdmcse_paper, 0.85),
    "released": (KDMCSELoss.released, reference.kdmcse_released, 0.5),
}


@pytest.mark.parametrize("seed", range(3))
class TestAgainstThePapersLoops:
    def test_simcse(self, seed):
        x = vectors(seed)
        assert_same(SimCSELoss(0.07)(x["s1"], x["s2"]), reference.simcse(x["s1"], x["s2"], 0.07), x)

    def test_simcse_with_the_released_margin(self, seed):
        x = vectors(seed)
        assert_same(SimCSELoss(0.07, 0.6)(x["s1"], x["s2"]), reference.simcse(x["s1"], x["s2"], 0.07, 0.6), x)

    def test_arccse(self, seed):
        x = vectors(seed)
        assert_same(ArcCSELoss(0.07, 0.2)(x["s1"], x["s2"]), reference.arccse(x["s1"], x["s2"], 0.07, 0.2), x)

    def test_mcse(self, seed):
        x = vectors(seed)
        ours = MCSELoss(0.07)(x["s1"], x["s2"], x["image"])
        assert_same(ours, reference.mcse(x["s1"], x["s2"], x["image"], 0.07), x)

    @pytest.mark.parametrize("reading", READINGS)
    @pytest.mark.parametrize("filtered", [True, False])
    def test_kdmcse(self, seed, reading, filtered):
        make, slow, threshold = READINGS[reading]
        x, threshold = vectors(seed), threshold if filtered else None
        ours = sum(make(0.07, 0.3, threshold)(**x).values())
        assert_same(ours, slow(*x.values(), 0.07, 0.3, threshold), x)

    def test_listnet(self, seed):
        x = vectors(seed)
        three = x["s1"], x["s2"], x["teacher_text"]
        assert_same(ListNetLoss(0.3, 0.2)(*three), reference.listnet(*three, 0.3, 0.2), x)


@pytest.mark.parametrize("reading", READINGS)
def test_the_thresholds_of_these_tests_filter_some_negatives_and_not_all(reading):
    """Guards the comparisons above against passing for want of anything filtered."""
    make, _, threshold = READINGS[reading]
    x = vectors(0)
    off, some, all_of_them = (sum(make(threshold=t)(**x).values()).item() for t in (None, threshold, -100.0))
    assert off > some > 0
    assert all_of_them == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("make", [KDMCSELoss.paper, KDMCSELoss.released])
def test_a_pair_of_thresholds_is_for_the_image_and_the_text_loss_apart(make):
    x = vectors(0)
    pair = make(threshold=(0.3, None))(**x)
    assert pair["image_loss"] == make(threshold=0.3)(**x)["image_loss"] < make(threshold=None)(**x)["image_loss"]
    assert pair["text_loss"] == make(threshold=None)(**x)["text_loss"] > make(threshold=0.3)(**x)["text_loss"]


@pytest.mark.parametrize("make", [KDMCSELoss.paper, KDMCSELoss.released])
def test_gradients_equal_finite_differences(make):
    x = vectors(4, rows=4)
    teacher = x["teacher_image"], x["teacher_text"]
    student = [x[name] for name in ("s1", "s2", "image", "text")]
    loss = make(temperature=0.3)
    assert torch.autograd.gradcheck(lambda *s: tuple(loss(*s, *teacher).values()), student)
    assert torch.autograd.gradcheck(ArcCSELoss(0.3, 0.2), student[:2])
    assert torch.autograd.gradcheck(SimCSELoss(0.3, 0.2), student[:2])
    assert torch.autograd.gradcheck(lambda *s: ListNetLoss(0.3, 0.2)(*s, x["teacher_text"]), student[:2])


def all_losses(x: dict[str, torch.Tensor], image_ids=None) -> dict[str, torch.Tensor]:
    pair = x["s1"], x["s2"]
    return {
        "simcse": SimCSELoss(margin=0.15)(*pair, image_ids),
        "arccse": ArcCSELoss()(*pair, image_ids),
        "mcse": MCSELoss()(*pair, x["image"], image_ids),
        "paper": sum(KDMCSELoss.paper()(**x, image_ids=image_ids).values()),
        "released": sum(KDMCSELoss.released(threshold=0.5)(**x, image_ids=image_ids).values()),
        "listnet": ListNetLoss()(*pair, x["teacher_text"]),
    }


seeds = st.integers(0, 10_000)


class TestLaws:
    @settings(deadline=None, max_examples=25)
    @given(seed=seeds)
    def test_permuting_the_batch_changes_nothing(self, seed):
        x = vectors(seed)
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed))
        permuted = all_losses({name: value[order] for name, value in x.items()})
        for name, loss in all_losses(x).items():
            torch.testing.assert_close(permuted[name], loss)

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, scale=st.floats(1e-3, 1e3), name=st.sampled_from(["s1", "s2", "image", "text"]))
    def test_scaling_an_embedding_changes_nothing(self, seed, scale, name):
        x = vectors(seed)
        scaled = all_losses({**x, name: x[name] * scale})
        for objective, loss in all_losses(x).items():
            torch.testing.assert_close(scaled[objective], loss)

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds)
    def test_without_margin_and_threshold_kdmcse_is_mcse_on_both_modalities(self, seed):
        x = vectors(seed)
        mcse = (MCSELoss()(x["s1"], x["s2"], x["image"]) + MCSELoss()(x["s1"], x["s2"], x["text"])) / 2
        for make in (KDMCSELoss.paper, KDMCSELoss.released):
            torch.testing.assert_close(sum(make(margin=0.0, threshold=None)(**x).values()), mcse)
        torch.testing.assert_close(ArcCSELoss(margin=0.0)(x["s1"], x["s2"]), SimCSELoss()(x["s1"], x["s2"]))

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, threshold=st.floats(1.0001, 10))
    def test_a_threshold_above_one_is_off_in_the_paper_reading(self, seed, threshold):
        x = vectors(seed)
        off = KDMCSELoss.paper(threshold=None)(**x)
        torch.testing.assert_close(KDMCSELoss.paper(threshold=threshold)(**x), off)

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, low=st.floats(-1, 1), high=st.floats(-1, 1))
    def test_the_lower_the_threshold_the_smaller_the_loss(self, seed, low, high):
        x = vectors(seed)
        low, high = sorted((low, high))
        losses = [KDMCSELoss.paper(threshold=threshold)(**x) for threshold in (low, high)]
        assert all(losses[0][name] <= losses[1][name] + 1e-12 for name in losses[0])

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, temperature=st.floats(0.02, 2))
    def test_listnet_is_zero_and_flat_where_the_student_ranks_as_the_teacher_does(self, seed, temperature):
        x = vectors(seed)
        student = x["teacher_text"].clone().requires_grad_()
        loss = ListNetLoss(temperature, temperature)(student, student, x["teacher_text"])
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-9
        assert ListNetLoss(temperature, temperature)(x["s1"], x["s2"], x["teacher_text"]) > 1e-6

    @settings(deadline=None, max_examples=25)
    @given(seed=seeds, scale=st.floats(1e-3, 1e3), offset=st.floats(-0.3, 0.3))
    def test_listnet_asks_for_the_teachers_differences_only(self, seed, scale, offset):
        """Longer features, and features in a narrower cone with the temperature to match, change nothing."""
        x = vectors(seed)
        s1, s2, teacher = x["s1"], x["s2"], torch.nn.functional.normalize(x["teacher_text"])
        loss = ListNetLoss(teacher_temperature=0.1)(s1, s2, teacher)
        torch.testing.assert_close(ListNetLoss(teacher_temperature=0.1)(s1, s2, teacher * scale), loss)
        common = torch.full((ROWS, 1), offset, dtype=torch.float64)  # one more component, the same in all
        narrowed = ListNetLoss(teacher_temperature=0.1 / (1 + offset**2))(s1, s2, torch.cat([teacher, common], 1))
        torch.testing.assert_close(narrowed, loss)

    @settings(deadline=None, max_examples=50)
    @given(cosine=st.floats(-0.99, 0.9), near=st.floats(0, 2), far=st.floats(0, 2))
    def test_the_more_distant_a_negative_for_the_teacher_the_larger_its_logit(self, cosine, near, far):
        """Margins up to 2 m_c, below the angle of the pair: cos(theta - m_c * Delta) grows with Delta."""
        near, far = sorted((near, far))
        cosine = torch.tensor([cosine], dtype=torch.float64)
        logits = [rotate(cosine, -0.125 * delta) for delta in (near, far)]
        assert logits[1] >= logits[0] - 1e-12

    @settings(deadline=None, max_examples=50)
    @given(theta=st.floats(0.01, math.pi - 0.01), angle=st.floats(-0.5, 0.5))
    def test_rotating_is_adding_to_the_angle(self, theta, angle):
        turned = rotate(torch.tensor(theta, dtype=torch.float64).cos(), angle)
        assert float(turned) == pytest.approx(math.cos(theta + angle), abs=1e-9)

    def test_captions_of_one_image_are_no_negatives_of_each_other(self):
        x = vectors(0)
        ids = torch.tensor([0, 1, 0, 2, 3, 4, 5])
        slow = reference.simcse(x["s1"], x["s2"], 0.05, image_ids=ids)
        assert_same(SimCSELoss()(x["s1"], x["s2"], ids), slow, x)
        assert_same(
            MCSELoss()(x["s1"], x["s2"], x["image"], ids),
            reference.mcse(x["s1"], x["s2"], x["image"], 0.05, image_ids=ids),
            x,
        )
        for name, loss in all_losses(x, torch.arange(ROWS)).items():
            torch.testing.assert_close(loss, all_losses(x)[name])
            if name == "listnet":  # it has no negatives
                continue
            assert all_losses(x, ids)[name] < loss, f"{name} ignores image_ids"


def degenerate_inputs(kind: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    x = {name: value.detach().clone() for name, value in vectors(0).items()}
    if kind == "coinciding":
        x["s2"], x["image"], x["text"] = x["s1"].clone(), x["s1"].clone(), x["s1"].clone()
        x["teacher_image"] = x["teacher_text"]
    if kind == "all rows alike":
        x = {name: value[:1].expand_as(value).clone() for name, value in x.items()}
    if kind == "opposite":
        x["s2"], x["image"], x["text"] = -x["s1"], -x["s1"], x["s1"].flip(0).neg()
        x["teacher_image"] = -x["teacher_text"]
    if kind == "zero":
        for value in x.values():
            value[::2] = 0
    if kind == "tiny":
        for name in ("s1", "image"):
            x[name] *= 1e-6
    return {name: value.to(dtype).requires_grad_(not name.startswith("teacher")) for name, value in x.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["coinciding", "all rows alike", "opposite", "zero", "tiny"])
def test_no_input_gives_nan_or_infinite_gradients(kind, dtype):
    for name in ("simcse", "arccse", "mcse", "paper", "released", "listnet"):
        x = degenerate_inputs(kind, dtype)
        loss = all_losses(x)[name]
        assert torch.isfinite(loss), f"{name}: loss is {loss}"
        for gradient in gradients(loss, x):
            assert torch.isfinite(gradient).all(), f"{name}: gradient is not finite"


def test_a_batch_of_one_has_nothing_to_rank():
    x = {name: value[:1].detach().requires_grad_(value.requires_grad) for name, value in vectors(0).items()}
    loss = ListNetLoss()(x["s1"], x["s2"], x["teacher_text"])
    assert loss == 0
    assert all((gradient == 0).all() for gradient in gradients(loss, x))


def test_listnet_moves_a_student_to_the_teachers_order():
    """Gradient steps on the embeddings alone; the order of each row's candidates comes out as the teacher's."""
    x = vectors(0)
    student = x["s1"].detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.05)
    loss = ListNetLoss(0.3, 0.3)
    for _ in range(300):
        optimizer.zero_grad()
        loss(student, student, x["teacher_text"]).backward()
        optimizer.step()
    orders = [
        torch.stack([cosine_similarity(v, v)[i][torch.arange(ROWS) != i].argsort() for i in range(ROWS)])
        for v in (student, x["teacher_text"])
    ]
    assert (orders[0] == orders[1]).double().mean() > 0.8


def test_half_precision_inputs_and_autocast_are_computed_in_float32():
    x = {name: value.detach().float() for name, value in vectors(0).items()}
    exact = all_losses(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = all_losses(x)
    rounded = all_losses({name: value.bfloat16() for name, value in x.items()})
    for name in exact:
        assert rounded[name].dtype == torch.float32
        torch.testing.assert_close(under_autocast[name], exact[name])
        torch.testing.assert_close(rounded[name], exact[name], rtol=0.1, atol=0.1)


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [tensor for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor)]
        self.elements = max([self.elements, *(tensor.numel() for tensor in tensors)])
        return result


def test_no_tensor_of_rows_by_rows_by_width_is_built():
    x = {name: torch.randn(64, 96, requires_grad=not name.startswith("teacher")) for name in INPUTS}
    with LargestTensor() as largest:
        sum(all_losses(x, torch.arange(64)).values()).backward()
    assert largest.elements == max(64 * 64, 64 * 96)


def test_a_zero_vector_has_cosine_zero():
    assert cosine_similarity(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimCSELoss(temperature=0), "temperature is 0"),
        (lambda: SimCSELoss(margin=-0.1), "margin is -0.1"),
        (lambda: KDMCSELoss.paper(margin=2.0), "margin is 2.0"),
        (lambda: KDMCSELoss(0.05, 0.1, None, "mine"), "preset is 'mine'"),
        (lambda: ListNetLoss(teacher_temperature=0), "teacher_temperature is 0"),
    ],
)
def test_impossible_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_teacher_features_of_two_spaces_are_refused_where_they_would_be_compared():
    x = vectors(0)
    x["teacher_text"] = x["teacher_text"][:, :4]
    with pytest.raises(ValueError, match="vectors of width 4 and 6 have no cosine"):
        KDMCSELoss.paper()(**x)
    assert torch.isfinite(sum(KDMCSELoss.released(threshold=None)(**x).values()))


def test_recorded_numbers_of_the_released_code(shared):
    """The golden file's own script, whole."""
    result = warm.run_program(str(shared / "golden" / "check_losses.py"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 failed" in result.stdout
