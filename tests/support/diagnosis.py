"""What the findings of fer-dist doctor come to, for its tests."""

from fer_dist.doctor.finding import Finding


def state(findings: list[Finding]) -> str:
    """The worst one's."""
    states = [item.state for item in findings]
    return next(name for name in ("fault", "warning", "ok", "not here") if name in states)


def remedies(findings: list[Finding]) -> str:
    """Of those that are not well; each must have one."""
    unwell = [item for item in findings if item.state in ("fault", "warning")]
    assert all(item.remedy for item in unwell)
    return " ".join(item.remedy for item in unwell)
