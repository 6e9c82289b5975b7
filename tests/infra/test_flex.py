"""What Flex Consumption refuses is in no app."""

from __future__ import annotations

import re

from local.bicep import Deployment

FLEX_SITE = {"appSettings", "minTlsVersion", "scmMinTlsVersion", "http20Enabled", "ipSecurityRestrictions", "cors"}
"""What Flex Consumption takes of `siteConfig`; `ftpsState` for one ends a deployment with error 51021."""
FLEX_REFUSES = re.compile(
    r"FUNCTIONS_(EXTENSION_VERSION|WORKER_(RUNTIME|RUNTIME_VERSION|PROCESS_COUNT)|MAX_HTTP_CONCURRENCY)"
    r"|WEBSITE_(CONTENT.*|RUN_FROM_PACKAGE|MAX_DYNAMIC_APPLICATION_SCALE_OUT|VNET_ROUTE_ALL|DNS_SERVER|NODE_.*|TIME_ZONE)"
    r"|WEBSITE_SKIP_CONTENTSHARE_VALIDATION|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD|AzureWebJobsStorage"
)
"""Settings that belong to other plans (Microsoft's list of settings that Flex Consumption deprecates)."""


def test_apps_have_only_what_flex_consumption_takes(environment: Deployment) -> None:
    """Another plan's property or setting ends the deployment, in some regions before others."""
    for site in environment.of_type("Microsoft.Web/sites"):
        assert site.get("properties.siteConfig").keys() <= FLEX_SITE, site
        names = {setting["name"] for setting in site.get("properties.siteConfig.appSettings")}
        assert [name for name in names if FLEX_REFUSES.fullmatch(name)] == []


def test_the_host_finds_its_storage_in_every_cloud(environment: Deployment) -> None:
    """By whole addresses: an account's name alone means the public cloud."""
    for site in environment.of_type("Microsoft.Web/sites"):
        settings = {setting["name"]: setting["value"] for setting in site.get("properties.siteConfig.appSettings")}
        assert "AzureWebJobsStorage__accountName" not in settings
        for service in ("blob", "queue", "table"):
            address = settings[f"AzureWebJobsStorage__{service}ServiceUri"]
            assert re.fullmatch(rf"https://sthost\w+\.{service}\..+", address), address
