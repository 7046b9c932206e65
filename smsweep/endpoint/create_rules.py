"""What CreateTrainingJob checks beyond its model: fields that need or exclude each other, and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smsweep.endpoint import api_error
from smsweep.request_rules import broken_rules

HasObjects = Callable[[str], bool]  # whether an S3 URI leads to anything


def check(request: Mapping[str, Any], region: str, has_objects: HasObjects) -> None:
    """Raises ApiError (ValidationException) for the first rule broken."""
    for words in broken_rules(request):
        raise api_error.invalid(words)
    for channel in request.get("InputDataConfig", ()):
        uri = channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
        if uri and not has_objects(uri):
            bucket = uri.removeprefix("s3://").partition("/")[0]
            raise api_error.invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the '
                f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and "
                f'that the role "{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )
