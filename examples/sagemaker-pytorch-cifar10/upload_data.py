"""Put the CIFAR-10 archive into a bucket, unless it is there.

    python upload_data.py s3://my-bucket/cifar10
    python upload_data.py s3://my-bucket/cifar10 --archive cifar-10-python.tar.gz

Without --archive, the script downloads the archive (170 MB) from the authors' page.
"""

import argparse
import hashlib
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"  # as the page states it
NAME = "cifar-10-python.tar.gz"


def has_object(s3, bucket, key):
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as err:
        if err.response["Error"]["Code"] == "404":
            return False
        raise
    return True


def download(target):
    urllib.request.urlretrieve(URL, target)
    digest = hashlib.md5(target.read_bytes()).hexdigest()
    if digest != MD5:
        raise SystemExit(f"{URL}: the MD5 is {digest}, expected {MD5}; download the archive again")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", help="such as s3://my-bucket/cifar10")
    parser.add_argument("--archive", type=Path, help=f"{NAME} on this machine")
    options = parser.parse_args()
    place = urlsplit(options.folder)
    if place.scheme != "s3":
        parser.error(f"folder: expected s3://..., got {options.folder}")
    s3, bucket, key = boto3.client("s3"), place.netloc, f"{place.path.strip('/')}/{NAME}".lstrip("/")
    if has_object(s3, bucket, key):
        print(f"s3://{bucket}/{key} exists")
        return
    with tempfile.TemporaryDirectory() as scratch:
        archive = options.archive or Path(scratch, NAME)
        if not options.archive:
            download(archive)
        s3.upload_file(str(archive), bucket, key)
    print(f"uploaded s3://{bucket}/{key}")


if __name__ == "__main__":
    main()
