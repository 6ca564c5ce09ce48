"""
Names with a meaning: of a job and its environment, of tables, and of operations.

The API's owner asks for one key per job, and a name that says which job; when a key
leaks, `production-crm-sync` says what to stop, `backend` does not.
"""

import re
from typing import Final

from sidecar.settings.values import TOKEN, refuse, words

MAX_NAME: Final = 63  # fits a DNS label, so also a Kubernetes label and a metric
JOB_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
TABLE_NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
# A name made of these alone says nothing about the job.
VAGUE: Final = words(
    "api app application backend bot client common core default job key keys main "
    "misc my new old prod production script server service shared sidecar system "
    "token tool web website worker"
)
# In production these are a sign that a key is used in two environments.
NOT_PRODUCTION: Final = words(
    "demo dev development example foo local qa sandbox stage staging temp test "
    "testing tests tmp uat"
)
REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
# CreateTable, parameter TableName.
DYNAMODB: Final = re.compile(r"dynamodb:[A-Za-z0-9_.-]{3,255}")
# RFC 3986, section 3.3: pchar, without "*", which would look like a wildcard, and ";".
SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,=:@-]|%[0-9A-Fa-f]{2})+")
PARAMETER: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")


def check_job_name(name: str, environment: str) -> None:
    """
    Check `<environment>-<system>...`; in production also that it says which job.

    Raises:
        ValueError: naming the rule that the name breaks.
    """
    parts = name.split("-")
    if environment == "production" and set(parts) <= VAGUE | NOT_PRODUCTION:
        refuse("does not name the job: one key for one job, named after it")
    if not JOB_NAME.fullmatch(name) or len(name) > MAX_NAME:
        refuse(f"must be words of a-z, 0-9 joined by -, at most {MAX_NAME} characters")
    if parts[0] != environment:
        refuse(f"must begin with its environment: {environment}-")
    if environment == "production" and set(parts) & NOT_PRODUCTION:
        refuse("names another environment: production has credentials of its own")


def check_key_prefix(prefix: str, environment: str) -> None:
    """
    Check that production does not expect the keys of another environment.

    Raises:
        ValueError: the prefix names an environment that is not production.
    """
    parts = set(re.split(r"[_.-]", prefix.lower()))
    if environment == "production" and parts & NOT_PRODUCTION:
        refuse("is the prefix of another environment's keys: production has its own")


def check_table_name(name: str) -> str:
    """
    Check the name of an upstream or a webhook endpoint; it becomes a metric label.

    Raises:
        ValueError: it cannot be written as part of a `SIDECAR_*` variable.
    """
    if not TABLE_NAME.fullmatch(name) or len(name) > MAX_NAME:
        refuse(f"a name is a-z, 0-9 and single _ or -, at most {MAX_NAME} characters")
    return name


def check_dedupe(text: str) -> str:
    """
    Check `memory` or `dynamodb:TABLE`.

    Raises:
        ValueError: it is neither, or DynamoDB cannot have the table.
    """
    if text != "memory" and not DYNAMODB.fullmatch(text):
        refuse("must be memory or dynamodb:TABLE")
    return text


def check_region(text: str) -> str:
    """
    Check the name of an AWS region.

    Raises:
        ValueError: no region is called so.
    """
    if not REGION.fullmatch(text):
        refuse("must be the name of an AWS region")
    return text


def check_operation(text: str) -> str:
    """
    Check `METHOD,METHOD /path/{param}/**`; `*` is any method.

    Raises:
        ValueError: naming the rule that the text breaks.
    """
    methods, space, path = text.partition(" ")
    if not space or not path.startswith("/"):
        refuse("must be METHOD /path, for example GET,PATCH /contacts/{id}")
    for method in methods.split(","):
        if method != "*" and not (TOKEN.fullmatch(method) and method == method.upper()):
            refuse("methods are upper-case words joined by commas, or *")
    segments = path[1:].split("/")
    for position, segment in enumerate(segments, start=1):
        if segment == "**":
            if position != len(segments):
                refuse("** matches the rest of a path, so it can only come last")
        elif segment in {".", ".."}:
            refuse("must not contain . or .. segments")
        elif segment and not (
            SEGMENT.fullmatch(segment) or PARAMETER.fullmatch(segment)
        ):
            refuse("a path segment is plain text, {name} for any one, or ** at the end")
    return text
