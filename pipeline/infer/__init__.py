"""A lake.yaml proposed from a sample of the data, with the reasons as comments."""

from pipeline.infer.proposal import propose
from pipeline.infer.sample import Sample, read_sample
from pipeline.infer.write import dataset_text, lake_text

__all__ = ["Sample", "dataset_text", "lake_text", "propose", "read_sample"]
