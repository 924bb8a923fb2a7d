"""Reads metrics from the standard input as the Python client of Prometheus does, and prints them."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

samples = []
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = sorted(sample.labels.items())
        samples.append([family.type, sample.name, labels, sample.value])
json.dump(samples, sys.stdout)
