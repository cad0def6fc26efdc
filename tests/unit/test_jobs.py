"""Jobs are found by both of their names, and by no other."""

import pytest

from caelum_common import jobs


@pytest.mark.parametrize("name", ["llm1", "llm1-tech"])
def test_both_names_find_the_job(name):
    assert jobs.resolve(name).name == "llm1-tech"


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(jobs.UnknownJob, match=r"job 'llm9' does not exist; known: llm1-tech \(llm1\)"):
        jobs.resolve("llm9")


def test_the_primary_horizon_is_one_that_is_predicted():
    assert all(job.primary_horizon in job.horizons for job in jobs.JOBS)
