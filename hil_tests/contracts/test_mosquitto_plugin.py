"""A suite whose jobs come through mosquitto."""

import pytest

pytestmark = pytest.mark.contract


def test_a_suite_runs_with_the_jobs_service_behind_mosquitto(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(
        """
        def test_it(nrf91_board, nrf91_deploy, nrf91_images, nrf91_cloud):
            assert nrf91_cloud.kind == "mosquitto"
            assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
        """
    )
    result = pytester.runpytest_subprocess(
        "--nrf91-port", "virtual", "--nrf91-cloud", "mosquitto", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nrf91: port virtual (option), cloud mosquitto (option)"])
