// Written by `dev.py declare` from the files in params: change those.
using 'main.bicep'

// dev, prod, staging, test: `azd env set SLUICE_STAGE prod`. Another name ends the build.
var stageName = readEnvironmentVariable('SLUICE_STAGE', 'dev')

var stages = {
  dev: {
    environmentName: readEnvironmentVariable('AZURE_ENV_NAME', 'dev')
    stage: 'dev'
    ownership: {
      application: readEnvironmentVariable('SLUICE_APPLICATION', 'sluice')
      businessUnit: readEnvironmentVariable('SLUICE_BUSINESS_UNIT', 'integration')
      costCenter: readEnvironmentVariable('SLUICE_COST_CENTER', 'unassigned')
      dataClass: 'internal'
    }
    isolated: false
    guarded: false
    locked: false
    stateAccounts: 1
    stateBuckets: 16
    storageSku: 'Standard_LRS'
    serviceBus: {
      sku: 'Standard'
      capacity: 1
      queueSizeMb: 1024
    }
    eventHubs: {
      sku: 'Standard'
      capacity: max(1, int(readEnvironmentVariable('SLUICE_EVENT_HUB_UNITS', '0')))
      maximumCapacity: 2
      partitions: 4
      retentionHours: 24
      capture: false
    }
    vaultSku: 'standard'
    sizes: {
      api: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 16, zones: false }
      high: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
      bulk: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
      ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
      streams: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
      lake: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: false }
    }
    retention: {
      claimDays: 60
      inboxDays: 60
      deadLetterDays: 30
      queueTtlDays: 14
      softDeleteDays: 7
      logDays: 30
    }
    logCapGb: 1
    gateway: {
      enabled: false
      sku: 'Consumption'
      capacity: 0
      publisherEmail: ''
      publisherName: ''
      callsPerMinute: 600
      callsPerDay: 10000
      allowedRanges: []
    }
    thresholds: {
      highAgeSeconds: 900
      otherAgeSeconds: 7200
      latencySeconds: 60
      failuresPerFiveMinutes: 300
      backlogMessages: 100000
      objectivePercent: '99'
      expectsTraffic: false
    }
    alertEmails: empty(readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')) ? [] : [readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')]
  }
  prod: {
    environmentName: readEnvironmentVariable('AZURE_ENV_NAME', 'prod')
    stage: 'prod'
    ownership: {
      application: readEnvironmentVariable('SLUICE_APPLICATION', 'sluice')
      businessUnit: readEnvironmentVariable('SLUICE_BUSINESS_UNIT', 'integration')
      costCenter: readEnvironmentVariable('SLUICE_COST_CENTER', 'unassigned')
      dataClass: 'restricted'
    }
    isolated: true
    guarded: true
    locked: true
    stateAccounts: 4
    stateBuckets: 256
    storageSku: 'Standard_ZRS'
    serviceBus: {
      sku: 'Premium'
      capacity: 2
      queueSizeMb: 81920
    }
    eventHubs: {
      sku: 'Standard'
      capacity: max(5, int(readEnvironmentVariable('SLUICE_EVENT_HUB_UNITS', '0')))
      maximumCapacity: 40
      partitions: 32
      retentionHours: 168
      capture: true
    }
    vaultSku: 'premium'
    sizes: {
      api: { memoryMb: 2048, maximumInstances: 80, alwaysReady: [{ name: 'http', instanceCount: 2 }], httpConcurrency: 16, zones: true }
      high: { memoryMb: 2048, maximumInstances: 60, alwaysReady: [{ name: 'function:lane_high', instanceCount: 2 }], httpConcurrency: 1, zones: true }
      bulk: { memoryMb: 2048, maximumInstances: 60, alwaysReady: [], httpConcurrency: 1, zones: true }
      ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: true }
      streams: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: true }
      lake: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: true }
    }
    retention: {
      claimDays: 60
      inboxDays: 60
      deadLetterDays: 30
      queueTtlDays: 14
      softDeleteDays: 30
      logDays: 90
    }
    logCapGb: -1
    gateway: {
      enabled: true
      sku: 'StandardV2'
      capacity: 2
      publisherEmail: readEnvironmentVariable('SLUICE_PUBLISHER_EMAIL', 'integration@example.com')
      publisherName: 'Integration team'
      callsPerMinute: 6000
      callsPerDay: 2000000
      allowedRanges: []
    }
    thresholds: {
      highAgeSeconds: 360
      otherAgeSeconds: 1800
      latencySeconds: 5
      failuresPerFiveMinutes: 30
      backlogMessages: 50000
      objectivePercent: '99.9'
      expectsTraffic: true
    }
    alertEmails: [readEnvironmentVariable('SLUICE_ALERT_EMAIL', 'integration@example.com')]
  }
  staging: {
    environmentName: readEnvironmentVariable('AZURE_ENV_NAME', 'staging')
    stage: 'staging'
    ownership: {
      application: readEnvironmentVariable('SLUICE_APPLICATION', 'sluice')
      businessUnit: readEnvironmentVariable('SLUICE_BUSINESS_UNIT', 'integration')
      costCenter: readEnvironmentVariable('SLUICE_COST_CENTER', 'unassigned')
      dataClass: 'internal'
    }
    isolated: true
    guarded: true
    locked: false
    stateAccounts: 4
    stateBuckets: 256
    storageSku: 'Standard_ZRS'
    serviceBus: {
      sku: 'Premium'
      capacity: 1
      queueSizeMb: 81920
    }
    eventHubs: {
      sku: 'Standard'
      capacity: max(1, int(readEnvironmentVariable('SLUICE_EVENT_HUB_UNITS', '0')))
      maximumCapacity: 10
      partitions: 32
      retentionHours: 168
      capture: true
    }
    vaultSku: 'premium'
    sizes: {
      api: { memoryMb: 2048, maximumInstances: 80, alwaysReady: [{ name: 'http', instanceCount: 2 }], httpConcurrency: 16, zones: true }
      high: { memoryMb: 2048, maximumInstances: 60, alwaysReady: [{ name: 'function:lane_high', instanceCount: 2 }], httpConcurrency: 1, zones: true }
      bulk: { memoryMb: 2048, maximumInstances: 60, alwaysReady: [], httpConcurrency: 1, zones: true }
      ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: true }
      streams: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: true }
      lake: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: true }
    }
    retention: {
      claimDays: 60
      inboxDays: 60
      deadLetterDays: 30
      queueTtlDays: 14
      softDeleteDays: 30
      logDays: 90
    }
    logCapGb: -1
    gateway: {
      enabled: true
      sku: 'StandardV2'
      capacity: 1
      publisherEmail: readEnvironmentVariable('SLUICE_PUBLISHER_EMAIL', 'integration@example.com')
      publisherName: 'Integration team'
      callsPerMinute: 6000
      callsPerDay: 2000000
      allowedRanges: []
    }
    thresholds: {
      highAgeSeconds: 360
      otherAgeSeconds: 1800
      latencySeconds: 5
      failuresPerFiveMinutes: 30
      backlogMessages: 50000
      objectivePercent: '99.9'
      expectsTraffic: false
    }
    alertEmails: [readEnvironmentVariable('SLUICE_ALERT_EMAIL', 'integration@example.com')]
  }
  test: {
    environmentName: readEnvironmentVariable('AZURE_ENV_NAME', 'test')
    stage: 'test'
    ownership: {
      application: readEnvironmentVariable('SLUICE_APPLICATION', 'sluice')
      businessUnit: readEnvironmentVariable('SLUICE_BUSINESS_UNIT', 'integration')
      costCenter: readEnvironmentVariable('SLUICE_COST_CENTER', 'unassigned')
      dataClass: 'internal'
    }
    isolated: true
    guarded: true
    locked: false
    stateAccounts: 2
    stateBuckets: 64
    storageSku: 'Standard_LRS'
    serviceBus: {
      sku: 'Premium'
      capacity: 1
      queueSizeMb: 5120
    }
    eventHubs: {
      sku: 'Standard'
      capacity: max(2, int(readEnvironmentVariable('SLUICE_EVENT_HUB_UNITS', '0')))
      maximumCapacity: 4
      partitions: 4
      retentionHours: 72
      capture: false
    }
    vaultSku: 'standard'
    sizes: {
      api: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [{ name: 'http', instanceCount: 1 }], httpConcurrency: 16, zones: false }
      high: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [{ name: 'function:lane_high', instanceCount: 1 }], httpConcurrency: 1, zones: false }
      bulk: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [], httpConcurrency: 1, zones: false }
      ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
      streams: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
      lake: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: false }
    }
    retention: {
      claimDays: 60
      inboxDays: 60
      deadLetterDays: 30
      queueTtlDays: 14
      softDeleteDays: 14
      logDays: 30
    }
    logCapGb: 5
    gateway: {
      enabled: true
      sku: 'StandardV2'
      capacity: 1
      publisherEmail: readEnvironmentVariable('SLUICE_PUBLISHER_EMAIL', 'integration@example.com')
      publisherName: 'Integration team'
      callsPerMinute: 60000
      callsPerDay: 10000000
      allowedRanges: []
    }
    thresholds: {
      highAgeSeconds: 360
      otherAgeSeconds: 1800
      latencySeconds: 5
      failuresPerFiveMinutes: 30
      backlogMessages: 50000
      objectivePercent: '99.9'
      expectsTraffic: false
    }
    alertEmails: [readEnvironmentVariable('SLUICE_ALERT_EMAIL', 'integration@example.com')]
  }
}

param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param deployerPrincipalId = readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
param deployerPrincipalType = readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User') == 'User' ? 'User' : 'ServicePrincipal'
param rollingUpdates = readEnvironmentVariable('SLUICE_ROLLING_UPDATES', 'true') != 'false'
param lakehouse = readEnvironmentVariable('SLUICE_LAKE', 'false') == 'true'
param authIssuer = readEnvironmentVariable('SLUICE_AUTH_ISSUER', '')
param authAudience = readEnvironmentVariable('SLUICE_AUTH_AUDIENCE', '')
param appSettings = json(readEnvironmentVariable('SLUICE_APP_SETTINGS', '{}'))
param environmentName = stages[stageName].environmentName
param stage = stages[stageName].stage
param ownership = stages[stageName].ownership
param isolated = stages[stageName].isolated
param guarded = stages[stageName].guarded
param locked = stages[stageName].locked
param stateAccounts = stages[stageName].stateAccounts
param stateBuckets = stages[stageName].stateBuckets
param storageSku = stages[stageName].storageSku
param serviceBus = stages[stageName].serviceBus
param eventHubs = stages[stageName].eventHubs
param vaultSku = stages[stageName].vaultSku
param sizes = stages[stageName].sizes
param retention = stages[stageName].retention
param logCapGb = stages[stageName].logCapGb
param gateway = stages[stageName].gateway
param thresholds = stages[stageName].thresholds
param alertEmails = stages[stageName].alertEmails
