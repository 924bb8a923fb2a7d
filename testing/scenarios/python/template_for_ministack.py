"""Rewrites a built template, to what MiniStack can deploy: it refuses alarms on what is calculated of metrics.
Each of them becomes one on the first of its metrics, so that what refers to it stays as it is.
"""

import sys
from pathlib import Path

from samcli.yamlhelper import yaml_dump, yaml_parse


def simplify(alarm):
    metrics = alarm.pop("Metrics", None)
    if metrics is not None:
        metric = next(metric["MetricStat"] for metric in metrics if "MetricStat" in metric)
        alarm.update(metric["Metric"], Statistic="Sum", Period=metric["Period"])


source, destination = map(Path, sys.argv[1:])
template = yaml_parse(source.read_text())
for resource in template["Resources"].values():
    if resource["Type"] == "AWS::CloudWatch::Alarm":
        simplify(resource["Properties"])
destination.write_text(yaml_dump(template))
