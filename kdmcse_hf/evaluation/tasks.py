"""Names of the evaluation tasks, in the order of the papers' tables."""

STS_TASKS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R")
# The development set of STS-B, by which training chooses its checkpoint. Alignment and uniformity are measured on it.
STS_DEV = "STS-B-dev"
TRANSFER_TASKS = ("MR", "CR", "SUBJ", "MPQA", "SST2", "TREC", "MRPC")
TASKS = (*STS_TASKS, STS_DEV, *TRANSFER_TASKS)
# Names that stand for several tasks, as recipes/evaluate.py takes them.
GROUPS = {"sts": STS_TASKS, "transfer": TRANSFER_TASKS, "alignment": (STS_DEV,)}
