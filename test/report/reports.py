"""Reports of given counts."""

from dataclasses import fields

from deeplab_miou.accounting import Account
from deeplab_miou.aggregation.results import Result, Totals
from deeplab_miou.metric.scores import compute_scores
from deeplab_miou.report.report import Report

_REPORTED = {each.name for each in fields(Report)}


def report_of(class_names, counts, account=None, **others):
    """Return the report of what was counted, with other fields of it and of its result."""
    totals = Totals(
        tuple(class_names),
        counts,
        account=Account() if account is None else account,
        region_names=tuple(others.get("regions", ())),
    )
    reported = {name: value for name, value in others.items() if name in _REPORTED}
    scored = {name: value for name, value in others.items() if name not in _REPORTED}
    return Report(Result(totals, compute_scores(counts.matrix), **scored), **reported)
