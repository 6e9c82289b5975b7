using '../main.bicep'

// For load tests and rehearsals: built like production, private and Premium, in the smallest size that shows the truth.
param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'test')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param stage = 'test'

// Tags of every resource, by which bills are split and owners found.
param ownership = {
  application: readEnvironmentVariable('SLUICE_APPLICATION', 'sluice')
  businessUnit: readEnvironmentVariable('SLUICE_BUSINESS_UNIT', 'integration')
  costCenter: readEnvironmentVariable('SLUICE_COST_CENTER', 'unassigned')
  dataClass: 'internal' // made up
}
param isolated = true // a missing DNS zone or endpoint shows here, not in production
param guarded = true // what production would refuse is refused here first
param locked = false // it is torn down after a rehearsal

param stateAccounts = 2 // more than one, so that spreading is tried
param stateBuckets = 64
param storageSku = 'Standard_LRS'

// One messaging unit is about 4 MB a second: half of production's, so a load test uses half of production's load.
param serviceBus = {
  sku: 'Premium'
  capacity: 1
  queueSizeMb: 5120
}

// 2 MB in a second to begin with; grows during a load test, as production does.
param eventHubs = {
  sku: 'Standard'
  capacity: max(2, int(readEnvironmentVariable('SLUICE_EVENT_HUB_UNITS', '0'))) // what it has grown to stays
  maximumCapacity: 4
  partitions: 4 // fixed at birth, as the emulator has it
  retentionHours: 72
  capture: false
}

param vaultSku = 'standard'

// Zones change prices, not behaviour. One warm instance where production has some, so that the code path is the same; caps at half of production's.
param sizes = {
  api: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [{ name: 'http', instanceCount: 1 }], httpConcurrency: 16, zones: false }
  high: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [{ name: 'function:lane_high', instanceCount: 1 }], httpConcurrency: 1, zones: false }
  bulk: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [], httpConcurrency: 1, zones: false }
  ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
  streams: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
  lake: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: false }
}

param retention = {
  claimDays: 60
  inboxDays: 60
  deadLetterDays: 30
  queueTtlDays: 14
  softDeleteDays: 14
  logDays: 30
}

param logCapGb = 5 // a load test writes much in an hour

// As in production but for the size: policies are tried here first.
param gateway = {
  enabled: true
  sku: 'StandardV2' // the smallest tier that reaches a private API
  capacity: 1
  publisherEmail: readEnvironmentVariable('SLUICE_PUBLISHER_EMAIL', 'integration@example.com')
  publisherName: 'Integration team'
  callsPerMinute: 60000 // a load test is one client
  callsPerDay: 10000000
  allowedRanges: []
}

// Production's, so that a load test shows whether they fire when they should and only then.
param thresholds = {
  highAgeSeconds: 360
  otherAgeSeconds: 1800
  latencySeconds: 5
  failuresPerFiveMinutes: 30
  backlogMessages: 50000
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
