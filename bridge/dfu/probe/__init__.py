"""The ``probe`` route: flash written over SWD through a J-Link, by Nordic's pynrfjprog.

pynrfjprog is loaded when it is needed, and in a process of its own (:mod:`bridge.dfu.probe.process`).
"""

from bridge.dfu.probe.listing import Probe, ProbeList, choose_probe, list_probes
from bridge.dfu.probe.plan import FlashPlan, make_plan
from bridge.dfu.probe.process import Engine, ProcessEngine
from bridge.dfu.probe.programmer import ProbeProgrammer
from bridge.dfu.probe.reports import ProbeProgress
from bridge.dfu.probe.serial_engine import upload_application, upload_modem

__all__ = [
    "Engine",
    "FlashPlan",
    "Probe",
    "ProbeList",
    "ProbeProgrammer",
    "ProbeProgress",
    "ProcessEngine",
    "choose_probe",
    "list_probes",
    "make_plan",
    "upload_application",
    "upload_modem",
]
