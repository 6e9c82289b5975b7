using '../main.bicep'

// The last rehearsal: production's zones, policies, partitions and tiers with the fewest units, so that a rollout, a
// migration and a failover are seen here first.
param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'staging')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param stage = 'staging'

// Tags of every resource, by which bills are split and owners found.
param ownership = {
  application: readEnvironmentVariable('SLUICE_APPLICATION', 'sluice')
  businessUnit: readEnvironmentVariable('SLUICE_BUSINESS_UNIT', 'integration')
  costCenter: readEnvironmentVariable('SLUICE_COST_CENTER', 'unassigned')
  dataClass: 'internal' // made up
}
param isolated = true
param guarded = true
param locked = false // it is made anew from time to time

param stateAccounts = 4 // 20,000 operations a second each; a message takes about four, a retry as many again
param stateBuckets = 256 // fixed at birth: enough for the state to be spread over 16 accounts' worth of load
param storageSku = 'Standard_ZRS' // survives a zone, which is all that a lane's promise needs; a region is a restore

param serviceBus = {
  sku: 'Premium'
  capacity: 1
  queueSizeMb: 81920
}

param eventHubs = {
  sku: 'Standard'
  capacity: max(1, int(readEnvironmentVariable('SLUICE_EVENT_HUB_UNITS', '0'))) // what it has grown to stays
  maximumCapacity: 10
  partitions: 32 // fixed at birth, and they cost nothing: ten readers now, and room for the 40 units
  retentionHours: 168
  capture: true
}

param vaultSku = 'premium' // the wrapping key stays in hardware

// Over zones, every app: a lane whose zone is gone would wait for its return. It keeps two instances of each function
// group, nine groups here, so what is always ready for the API and the high lane costs nothing on top; docs/cost.md says
// the price, and `zones: false` for an app that may wait saves its part. The caps add up to
// the region's quota of 250 cores: 80 + 60 + 60 + 40 + 10, a core each. A reader of the hub needs no more instances than
// the hub has partitions.
param sizes = {
  api: { memoryMb: 2048, maximumInstances: 80, alwaysReady: [{ name: 'http', instanceCount: 2 }], httpConcurrency: 16, zones: true }
  high: { memoryMb: 2048, maximumInstances: 60, alwaysReady: [{ name: 'function:lane_high', instanceCount: 2 }], httpConcurrency: 1, zones: true }
  bulk: { memoryMb: 2048, maximumInstances: 60, alwaysReady: [], httpConcurrency: 1, zones: true }
  ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: true }
  streams: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: true }
  lake: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: true }
}

// Claims: 14 days on a queue and 30 as a dead letter are 44; the rest is for a replay that takes its time.
param retention = {
  claimDays: 60
  inboxDays: 60
  deadLetterDays: 30
  queueTtlDays: 14
  softDeleteDays: 30
  logDays: 90
}

param logCapGb = -1 // an alert that does not come because its day's budget is spent is worse than a bill

param gateway = {
  enabled: true
  sku: 'StandardV2'
  capacity: 1
  publisherEmail: readEnvironmentVariable('SLUICE_PUBLISHER_EMAIL', 'integration@example.com')
  publisherName: 'Integration team'
  callsPerMinute: 6000 // 100 a second for each client: a tenth of what the lanes are sized for
  callsPerDay: 2000000
  allowedRanges: []
}

// Age: telemetry itself takes up to five minutes, so six is the first that can be known. Latency and failures as agreed
// with the senders: 5 seconds at the 95th percentile, one failure in ten seconds.
param thresholds = {
  highAgeSeconds: 360
  otherAgeSeconds: 1800
  latencySeconds: 5
  failuresPerFiveMinutes: 30
  backlogMessages: 50000 // 50 seconds of full load
  objectivePercent: '99.9'
  expectsTraffic: false // nobody sends at night
}

param alertEmails = [readEnvironmentVariable('SLUICE_ALERT_EMAIL', 'integration@example.com')]

// Who deploys sets the first secrets; azd and the pipeline say who that is.
param deployerPrincipalId = readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
param deployerPrincipalType = readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User') == 'User' ? 'User' : 'ServicePrincipal'

// Some regions have no rolling updates yet: `azd env set SLUICE_ROLLING_UPDATES false` there.
param rollingUpdates = readEnvironmentVariable('SLUICE_ROLLING_UPDATES', 'true') != 'false'

// The lake's app: `azd env set SLUICE_LAKE true`, which azure.yaml asks for too.
param lakehouse = readEnvironmentVariable('SLUICE_LAKE', 'false') == 'true'

param authIssuer = readEnvironmentVariable('SLUICE_AUTH_ISSUER', '')
param authAudience = readEnvironmentVariable('SLUICE_AUTH_AUDIENCE', '')
param appSettings = json(readEnvironmentVariable('SLUICE_APP_SETTINGS', '{}'))
