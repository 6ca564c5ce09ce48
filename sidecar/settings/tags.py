"""What the tags of a secret say of its job: whose key it is, and when it is due."""

from sidecar.settings.tables import JobSettings


def tags_of(job: JobSettings) -> dict[str, str]:
    """
    Give the tags that a job's secret should have.

    The API's owner asks that service, owner and rotation schedule are recorded where
    the key is. What the settings leave open is left out.
    """
    tags = {"service": job.name, "environment": job.environment}
    if job.owner is not None:
        tags["owner"] = job.owner
    if job.rotate_every_days is not None:
        tags["rotate_every_days"] = str(job.rotate_every_days)
    return tags
