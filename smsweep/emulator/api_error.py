"""Errors of the API, with the codes and messages that AWS uses, and the account in the emulator's ARNs."""

from __future__ import annotations

FORBIDDEN, UNAVAILABLE, NOT_SERVED = 403, 500, 501
ACCOUNT = "123456789012"  # moto's default account; the emulator has only this one
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/local"
DEFAULT_REGION = "us-east-1"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"


class ApiError(Exception):
    """An error response.

    Args:
        code: The error code that botocore shows, such as ValidationException.
        message: The message for the user.
        status: The HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def no_such_action(action: str) -> ApiError:
    return ApiError("UnknownOperationException", f"The requested operation {action!r} is not recognized")


def not_served(service: str, action: str, fix: str = "unset AWS_ENDPOINT_URL to call AWS") -> ApiError:
    """Return the error for a call that the emulator does not run.

    Args:
        service: The signing name.
        action: The operation, or method and path.
        fix: What the user can do instead.
    """
    return ApiError(
        "NotImplementedException",
        f"{service}:{action}: the emulator does not support this call; {fix}",
        NOT_SERVED,
    )


def reserved_tag() -> ApiError:
    return invalid("aws: prefixed tag key names are not allowed for external use.")


def no_such_job() -> ApiError:
    # The API model documents ResourceNotFound, but the service returns this error (aws/aws-sdk#165).
    return invalid("Requested resource not found.")


def no_such_resource(arn: str) -> ApiError:
    return invalid(f"Could not find resource with ARN {arn}")


def name_taken(arn: str) -> ApiError:
    return ApiError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        f"already exists ({arn})",
    )


def quota_reached(what: str, limit: int, used: int, wanted: int) -> ApiError:
    """Return the error for a request that exceeds a quota.

    Args:
        what: The name of the quota.
        limit: The quota, in instances.
        used: Instances in use.
        wanted: Instances that the request needs.
    """
    return ApiError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{what}' is {limit} Instances, with current utilization of {used} "
        f"Instances and a request delta of {wanted} Instances. Please use AWS Service Quotas to request an "
        "increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
        "increase for this quota.",
    )


def throttled() -> ApiError:
    return ApiError("ThrottlingException", "Rate exceeded")


def denied(action: str, resource: str) -> ApiError:
    """Return the error for a denied action.

    Args:
        action: The action with its service, such as sagemaker:CreateTrainingJob.
        resource: ARN of the resource.
    """
    return ApiError(
        "AccessDeniedException",
        f"User: {USER_ARN} is not authorized to perform: {action} on resource: {resource} because no "
        f"identity-based policy allows the {action} action",
    )


def expired() -> ApiError:
    return ApiError("ExpiredTokenException", "The security token included in the request is expired", FORBIDDEN)


def unsigned() -> ApiError:
    return ApiError("MissingAuthenticationTokenException", "Missing Authentication Token", FORBIDDEN)


def unknown_key() -> ApiError:
    return ApiError("UnrecognizedClientException", "The security token included in the request is invalid.")


def wrong_signature() -> ApiError:
    return ApiError(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
        "Access Key and signing method. Consult the service documentation for details.",
    )


def url_expired() -> ApiError:
    return ApiError("AccessDeniedException", "Request has expired", FORBIDDEN)


def wrong_host(name: str, url: str) -> ApiError:
    return ApiError(
        "MisdirectedRequestException",
        f"The emulator does not accept the host name {name!r}; set AWS_ENDPOINT_URL to {url}",
        FORBIDDEN,
    )


def web_page_refused() -> ApiError:
    return ApiError(
        "MisdirectedRequestException", "The emulator does not accept requests from web pages", FORBIDDEN
    )


def control_api_closed() -> ApiError:
    return ApiError("AccessDeniedException", "moto's control API is closed; use /_smsweep/faults", FORBIDDEN)


def internal() -> ApiError:
    return ApiError("InternalFailure", "We encountered an internal error. Please try again.", UNAVAILABLE)


def serialization_error(message: str) -> ApiError:
    return ApiError("SerializationException", message)


def job_arn(region: str, name: str) -> str:
    """Return the ARN of a training job."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:training-job/{name}"
