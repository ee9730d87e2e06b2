"""What to do about an error of AWS, and what it tells of a permission that is missing."""

import re

_SIGN_IN = "sign in to AWS again: `aws sso login`, with the profile that you use"
_NETWORK = "check the network, --region (or AWS_REGION) and AWS_ENDPOINT_URL"
_CLOCK = "check AWS_SECRET_ACCESS_KEY, and the clock of this machine"
_AGAIN = "try again in a minute"
# Each service has a code of its own for too many calls, most of them with status 400.
THROTTLED = (
    *("Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException"),
    *("RequestThrottled", "RequestThrottledException", "RequestLimitExceeded"),
)
# By the code of AWS, or the class of an error on the way to it: by name, since an import of botocore takes
# as long as an embedded run takes to start.
_REMEDIES = {
    "ProfileNotFound": "give --profile, or set AWS_PROFILE to, one that `aws configure list-profiles` names",
    "NoRegionError": "give --region, or set AWS_REGION, or use a profile that has one",
    "InvalidRegionError": "give --region, or set AWS_REGION, as in eu-west-1",
    "NoCredentialsError": "sign in to AWS, or give --profile, or set AWS_PROFILE",
    "PartialCredentialsError": "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --profile",
    "InvalidRequestException": "a secret of the stack is to be deleted: bring it back by `aws secretsmanager "
    "restore-secret`",
    "ResourceNotFoundException": "what the stack stores in is gone: deploy it again",
    "LimitExceededException": "the tokens were stored too often today: try again tomorrow",
    "ProxyConnectionError": "check HTTPS_PROXY and HTTP_PROXY, or name the host of AWS in NO_PROXY",
    "CredentialRetrievalError": "see why the credential_process of the profile fails",
    "InvalidConfigError": "check the profile that you use in ~/.aws/config",
    **dict.fromkeys(("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError"), _SIGN_IN),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException"), _SIGN_IN),
    **dict.fromkeys(("InvalidClientTokenId", "UnrecognizedClientException"), _SIGN_IN),
    **dict.fromkeys(("SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired"), _CLOCK),
    **dict.fromkeys(("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"), _NETWORK),
    **dict.fromkeys(THROTTLED, _AGAIN),
    **dict.fromkeys(("ProvisionedThroughputExceededException", "InternalServiceError"), _AGAIN),
}


def aws_remedy(code: str) -> str:
    """Return what to do. `code`: that of AWS, or the class of an error on the way to it; "": nobody knows."""
    return _REMEDIES.get(code, "")


def missing_action(message: str) -> str | None:
    """Return the action that a message of AWS names as not allowed, and nothing else of it."""
    named = re.search(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)", message)
    return named[1] if named else None
