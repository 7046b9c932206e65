"""The types of requests and answers of the AWS operations that smsweep calls. They come from boto3-stubs.

The types exist for type checkers only: boto3-stubs is not installed with smsweep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, overload

if TYPE_CHECKING:
    from mypy_boto3_batch import type_defs as batch
    from mypy_boto3_ecr import type_defs as ecr
    from mypy_boto3_iam import type_defs as iam
    from mypy_boto3_logs import type_defs as logs
    from mypy_boto3_pricing import type_defs as pricing
    from mypy_boto3_s3 import type_defs as s3
    from mypy_boto3_sagemaker import type_defs as sagemaker
    from mypy_boto3_secretsmanager import type_defs as secretsmanager
    from mypy_boto3_service_quotas import type_defs as quotas
    from mypy_boto3_sqs import type_defs as sqs
    from mypy_boto3_ssm import type_defs as ssm
    from mypy_boto3_sts import type_defs as sts
    from typing_extensions import Unpack


class Calls(Protocol):
    """A method that calls an operation: service and operation by their names in boto3, then its parameters."""

    @overload
    def __call__(
        self,
        service: Literal["batch"],
        operation: Literal["submit_service_job"],
        **arguments: Unpack[batch.SubmitServiceJobRequestTypeDef],
    ) -> batch.SubmitServiceJobResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["batch"],
        operation: Literal["terminate_service_job"],
        **arguments: Unpack[batch.TerminateServiceJobRequestTypeDef],
    ) -> dict[str, Any]: ...
    @overload
    def __call__(
        self,
        service: Literal["batch"],
        operation: Literal["list_service_jobs"],
        **arguments: Unpack[batch.ListServiceJobsRequestTypeDef],
    ) -> batch.ListServiceJobsResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["batch"],
        operation: Literal["describe_service_job"],
        **arguments: Unpack[batch.DescribeServiceJobRequestTypeDef],
    ) -> batch.DescribeServiceJobResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["ecr"],
        operation: Literal["describe_images"],
        **arguments: Unpack[ecr.DescribeImagesRequestTypeDef],
    ) -> ecr.DescribeImagesResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["iam"],
        operation: Literal["get_role"],
        **arguments: Unpack[iam.GetRoleRequestTypeDef],
    ) -> iam.GetRoleResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["logs"],
        operation: Literal["filter_log_events"],
        **arguments: Unpack[logs.FilterLogEventsRequestTypeDef],
    ) -> logs.FilterLogEventsResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["pricing"],
        operation: Literal["get_products"],
        **arguments: Unpack[pricing.GetProductsRequestTypeDef],
    ) -> pricing.GetProductsResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["get_object"],
        **arguments: Unpack[s3.GetObjectRequestTypeDef],
    ) -> s3.GetObjectOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["head_object"],
        **arguments: Unpack[s3.HeadObjectRequestTypeDef],
    ) -> s3.HeadObjectOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["put_object"],
        **arguments: Unpack[s3.PutObjectRequestTypeDef],
    ) -> s3.PutObjectOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["delete_object"],
        **arguments: Unpack[s3.DeleteObjectRequestTypeDef],
    ) -> s3.DeleteObjectOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["delete_objects"],
        **arguments: Unpack[s3.DeleteObjectsRequestTypeDef],
    ) -> s3.DeleteObjectsOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["list_objects_v2"],
        **arguments: Unpack[s3.ListObjectsV2RequestTypeDef],
    ) -> s3.ListObjectsV2OutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["head_bucket"],
        **arguments: Unpack[s3.HeadBucketRequestTypeDef],
    ) -> s3.HeadBucketOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["get_bucket_versioning"],
        **arguments: Unpack[s3.GetBucketVersioningRequestTypeDef],
    ) -> s3.GetBucketVersioningOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["s3"],
        operation: Literal["get_bucket_lifecycle_configuration"],
        **arguments: Unpack[s3.GetBucketLifecycleConfigurationRequestTypeDef],
    ) -> s3.GetBucketLifecycleConfigurationOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["create_training_job"],
        **arguments: Unpack[sagemaker.CreateTrainingJobRequestTypeDef],
    ) -> sagemaker.CreateTrainingJobResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["describe_training_job"],
        **arguments: Unpack[sagemaker.DescribeTrainingJobRequestTypeDef],
    ) -> sagemaker.DescribeTrainingJobResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["describe_hyper_parameter_tuning_job"],
        **arguments: Unpack[sagemaker.DescribeHyperParameterTuningJobRequestTypeDef],
    ) -> sagemaker.DescribeHyperParameterTuningJobResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["list_training_jobs_for_hyper_parameter_tuning_job"],
        **arguments: Unpack[sagemaker.ListTrainingJobsForHyperParameterTuningJobRequestTypeDef],
    ) -> sagemaker.ListTrainingJobsForHyperParameterTuningJobResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["list_training_jobs"],
        **arguments: Unpack[sagemaker.ListTrainingJobsRequestTypeDef],
    ) -> sagemaker.ListTrainingJobsResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["stop_training_job"],
        **arguments: Unpack[sagemaker.StopTrainingJobRequestTypeDef],
    ) -> sagemaker.EmptyResponseMetadataTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["update_training_job"],
        **arguments: Unpack[sagemaker.UpdateTrainingJobRequestTypeDef],
    ) -> sagemaker.UpdateTrainingJobResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sagemaker"],
        operation: Literal["list_tags"],
        **arguments: Unpack[sagemaker.ListTagsInputTypeDef],
    ) -> sagemaker.ListTagsOutputTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["secretsmanager"],
        operation: Literal["create_secret"],
        **arguments: Unpack[secretsmanager.CreateSecretRequestTypeDef],
    ) -> secretsmanager.CreateSecretResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["secretsmanager"],
        operation: Literal["put_secret_value"],
        **arguments: Unpack[secretsmanager.PutSecretValueRequestTypeDef],
    ) -> secretsmanager.PutSecretValueResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["service-quotas"],
        operation: Literal["list_service_quotas"],
        **arguments: Unpack[quotas.ListServiceQuotasRequestTypeDef],
    ) -> quotas.ListServiceQuotasResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["service-quotas"],
        operation: Literal["list_aws_default_service_quotas"],
        **arguments: Unpack[quotas.ListAWSDefaultServiceQuotasRequestTypeDef],
    ) -> quotas.ListAWSDefaultServiceQuotasResponseTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sqs"],
        operation: Literal["receive_message"],
        **arguments: Unpack[sqs.ReceiveMessageRequestTypeDef],
    ) -> sqs.ReceiveMessageResultTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sqs"],
        operation: Literal["delete_message_batch"],
        **arguments: Unpack[sqs.DeleteMessageBatchRequestTypeDef],
    ) -> sqs.DeleteMessageBatchResultTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sqs"],
        operation: Literal["get_queue_url"],
        **arguments: Unpack[sqs.GetQueueUrlRequestTypeDef],
    ) -> sqs.GetQueueUrlResultTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["ssm"],
        operation: Literal["put_parameter"],
        **arguments: Unpack[ssm.PutParameterRequestTypeDef],
    ) -> ssm.PutParameterResultTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["ssm"],
        operation: Literal["get_parameter"],
        **arguments: Unpack[ssm.GetParameterRequestTypeDef],
    ) -> ssm.GetParameterResultTypeDef: ...
    @overload
    def __call__(
        self,
        service: Literal["sts"],
        operation: Literal["get_caller_identity"],
    ) -> sts.GetCallerIdentityResponseTypeDef: ...
    @overload
    def __call__(self, service: str, operation: str, **arguments: Any) -> Any: ...


def typed(method: Callable[..., dict[str, Any]]) -> Calls:
    """Give a method of `Aws` the types of all operations. Returns the method itself."""
    return cast("Calls", method)
