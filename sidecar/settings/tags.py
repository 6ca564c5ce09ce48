"""The tags of a job's secret: `rotate` sets them, `check` compares them."""

from sidecar.settings.models import JobSettings


def tags_of(job: JobSettings) -> dict[str, str]:
    """
    Return the tags that the secret of a job should have.

    The owner of the API asks for service, owner and rotation schedule beside the key.
    A setting that is unset gives no tag. config/iam/rotator.json allows these tags only.
    """
    tags = {"service": job.name, "environment": job.environment}
    if job.owner is not None:
        tags["owner"] = job.owner
    if job.rotate_every_days is not None:
        tags["rotate-every-days"] = str(job.rotate_every_days)
    return tags
