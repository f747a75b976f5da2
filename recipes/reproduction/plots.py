"""Figure 7: scores over the margin. Needs the extra `plots`."""

import pathlib

PAPER_BEST = 0.125


def plot_margins(summary: dict, path: pathlib.Path) -> None:
    """Mean and standard deviation over the seeds, a panel a column, a line a group.

    Args:
        summary: of `report.summarise`. Lines that do not vary `margin` are drawn across.
        path: PNG file to write.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"Drawing {path.name} needs matplotlib: pip install 'kdmcse_hf[plots]'") from error
    # As the paper, the average of the seven tasks; where they are not all scored, what there is.
    columns = ["Avg."] if "Avg." in summary["columns"] else [c for c in summary["columns"] if c.startswith("STS")]
    groups = dict.fromkeys(line["group"] for line in summary["lines"])
    figure = Figure(figsize=(5.5 * len(columns), 3.8), layout="constrained")
    for panel, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        for group in groups:
            there = [line for line in summary["lines"] if line["group"] == group and column in line["ours"]]
            varied = [line for line in there if "margin" in line["changes"]]
            margins = [line["changes"]["margin"] for line in varied]
            means = [line["ours"][column]["mean"] for line in varied]
            spreads = [line["ours"][column]["deviation"] or 0 for line in varied]
            panel.errorbar(margins, means, yerr=spreads, marker="o", capsize=3, label=group)
            for line in there:
                if line not in varied:
                    panel.axhline(line["ours"][column]["mean"], linestyle="--", label=line["label"])
        panel.axvline(PAPER_BEST, color="black", linestyle=":", label="the paper's best, 0.125")
        panel.set(xlabel="margin m in radians", ylabel="Spearman x100", title=column)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
