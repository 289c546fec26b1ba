"""The nouns of the pipeline: immutable values, no input or output, no third-party import.

``WorkflowRun``, ``WorkflowIssue`` and ``FixResult`` are what Python users and the JSON reports
see; the others pass between stages. Every stage returns new values and mutates none.
"""

from orchestrator.model.fixes import (
    Change,
    Declined,
    FileChange,
    Fix,
    FixResult,
    Operation,
    Plan,
    PlannedFix,
    Publication,
    Refused,
    Splice,
    ToolCheck,
    ToolRun,
    Verdict,
    Verification,
)
from orchestrator.model.issues import (
    Evidence,
    JobLog,
    LogScan,
    Match,
    StepTrace,
    WorkflowIssue,
    Zone,
)
from orchestrator.model.reports import (
    Report,
)
from orchestrator.model.runs import (
    Job,
    Step,
    Trigger,
    WorkflowRun,
)
from orchestrator.model.words import (
    RUNGS,
    Category,
    Confidence,
    Decision,
    Mode,
    Rung,
    Safety,
    Severity,
)

__all__ = [
    "Category",
    "Change",
    "Confidence",
    "Decision",
    "Declined",
    "Evidence",
    "FileChange",
    "Fix",
    "FixResult",
    "Job",
    "JobLog",
    "LogScan",
    "Match",
    "Mode",
    "Operation",
    "Plan",
    "PlannedFix",
    "Publication",
    "RUNGS",
    "Refused",
    "Report",
    "Rung",
    "Safety",
    "Severity",
    "Splice",
    "Step",
    "StepTrace",
    "ToolCheck",
    "ToolRun",
    "Trigger",
    "Verdict",
    "Verification",
    "WorkflowIssue",
    "WorkflowRun",
    "Zone",
]
