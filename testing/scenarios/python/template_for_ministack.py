"""Rewrites a built template into one that MiniStack can deploy. MiniStack refuses alarms on calculated metrics.
Each becomes an alarm on the first of its metrics, so that references to the alarm stay valid.
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
