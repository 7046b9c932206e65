"""Framework images by our own table and by SDK 2.x's."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.backends.sagemaker.images import image_uri
from tests.oracles import oracle

pytestmark = pytest.mark.oracle

OLD = ("0.20.0", "1", "0.90-1", "0.90-2", "1.0-1")  # of scikit-learn and XGBoost: their images had other names


def test_a_frameworks_image_is_the_one_that_the_sdk_takes() -> None:
    told = oracle("sagemaker2").ask(Path(__file__).with_name("ask_images.py"), None)
    recent = [each for each in told if each[0].get("framework_version") not in OLD]
    differences = [each for each in recent if image_uri(*each[:3]) != each[3]]
    assert not differences
    assert len(recent) > 100
