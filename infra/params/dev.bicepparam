using '../main.bicep'

// For trying things out: the cheapest tiers that still have everything, open to the internet but for identities only.
param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'dev')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param stage = 'dev'

// Tags of every resource, by which bills are split and owners found.
param ownership = {
  application: readEnvironmentVariable('SLUICE_APPLICATION', 'sluice')
  businessUnit: readEnvironmentVariable('SLUICE_BUSINESS_UNIT', 'integration')
  costCenter: readEnvironmentVariable('SLUICE_COST_CENTER', 'unassigned')
  dataClass: 'internal' // made up
}
param isolated = false // private endpoints need Service Bus Premium, which costs more than the rest together
param guarded = false // whoever tries things out isn't stopped
param locked = false // an environment of a day is thrown away as a whole

param stateAccounts = 1
param stateBuckets = 16 // few, so that tests meet keys that share one
param storageSku = 'Standard_LRS' // nothing in it that can't be made again

// 1,000 credits a second are about 500 messages a second from end to end: enough for one team.
param serviceBus = {
  sku: 'Standard'
  capacity: 1
  queueSizeMb: 1024
}

// 1 MB or 1,000 events a second; it may double for a load test.
param eventHubs = {
  sku: 'Standard'
  capacity: max(1, int(readEnvironmentVariable('SLUICE_EVENT_HUB_UNITS', '0'))) // what it has grown to stays
  maximumCapacity: 2
  partitions: 4 // fixed at birth
  retentionHours: 24
  capture: false
}

param vaultSku = 'standard'

// Nothing is always ready: what an idle environment costs are its timers, storage and logs. The caps keep a loop from
// becoming a bill.
param sizes = {
  api: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 16, zones: false }
  high: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
  bulk: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
  ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
  streams: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1, zones: false }
  lake: { memoryMb: 2048, maximumInstances: 10, alwaysReady: [], httpConcurrency: 1, zones: false }
}

// The same as everywhere: what depends on retention should fail here first. Only logs are kept shorter.
param retention = {
  claimDays: 60
  inboxDays: 60
  deadLetterDays: 30
  queueTtlDays: 14
  softDeleteDays: 7
  logDays: 30
}

param logCapGb = 1

// No gateway: the API is called directly.
param gateway = {
  enabled: false
  sku: 'Consumption'
  capacity: 0
  publisherEmail: ''
  publisherName: ''
  callsPerMinute: 600
  callsPerDay: 10000
  allowedRanges: []
}

// Loose, and silence is normal: the rules are here so that they are tried.
param thresholds = {
  highAgeSeconds: 900
  otherAgeSeconds: 7200
  latencySeconds: 60
  failuresPerFiveMinutes: 300
  backlogMessages: 100000
  objectivePercent: '99'
  expectsTraffic: false
}

// Nobody is written to, but whom `azd env set SLUICE_ALERT_EMAIL` names.
param alertEmails = empty(readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')) ? [] : [readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')]

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
