metadata description = 'Event Hubs with the hubs and consumer groups that the app declares.'

@description('Name of the namespace.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('keyUri and identityId of the key that what is at rest is encrypted under; empty: the platform\'s own.')
param customerKey object

@description('Tier: Standard or Premium.')
@allowed([
  'Standard'
  'Premium'
])
param sku string

@description('Throughput units of Standard, processing units of Premium, to begin with.')
param capacity int

@description('Standard grows by itself up to so many throughput units. 0: it does not grow.')
param maximumCapacity int

@description('Partitions of each hub, at least those that are declared.')
@minValue(1)
param partitions int

@description('How long events are kept, in hours.')
@minValue(1)
@maxValue(2160)
param retentionHours int

@description('Keep the events as files too (Capture), in the container of the lake.')
param capture bool

@description('Id of the storage account that Capture writes to.')
param captureAccountId string

@description('Name of that account.')
param captureAccountName string

@description('Container that Capture writes to.')
param captureContainer string

@description('Reached over private endpoints only.')
param isolated bool

@description('Deleting the namespace needs the lock to be taken off first.')
param locked bool

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

var ownKey = !empty(customerKey.keyUri)
var keyName = ownKey ? last(split(customerKey.keyUri, '/')) : ''
var keyVaultUri = ownKey ? split(customerKey.keyUri, '/keys/')[0] : ''

var hubs = loadJsonContent('../declarations.json').hubs
var inflates = sku == 'Standard' && maximumCapacity > capacity

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    tier: sku
    capacity: capacity
  }
  identity: ownKey ? {
    type: 'SystemAssigned, UserAssigned'
    userAssignedIdentities: {
      '${customerKey.identityId}': {}
    }
  } : {
    type: 'SystemAssigned'
  }
  properties: {
    disableLocalAuth: true
    encryption: ownKey ? {
      keySource: 'Microsoft.KeyVault'
      keyVaultProperties: [
        {
          keyName: keyName
          keyVaultUri: keyVaultUri
          identity: {
            userAssignedIdentity: customerKey.identityId
          }
        }
      ]
    } : null
    minimumTlsVersion: '1.2'
    publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'
    isAutoInflateEnabled: inflates
    maximumThroughputUnits: inflates ? maximumCapacity : 0
  }
}

// Before the hub: Capture is tried when it is switched on.
module captureRole 'capture-role.bicep' = if (capture) {
  name: 'capture-role'
  params: {
    principalId: namespace.identity.principalId
    accountName: captureAccountName
    containerName: captureContainer
  }
}

module hub 'eventhub.bicep' = [for one in hubs: {
  name: 'hub-${one.name}'
  params: {
    namespaceName: namespace.name
    name: one.name
    partitionCount: max(partitions, one.partitions)
    consumerGroups: one.groups
    retentionHours: retentionHours
    capture: capture
    captureAccountId: captureAccountId
    captureContainer: captureContainer
  }
  dependsOn: [
    captureRole
  ]
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep'
  scope: namespace
  properties: {
    level: 'CanNotDelete'
    notes: 'Holds facts that not every consumer has read yet.'
  }
}

output id string = namespace.id
output name string = namespace.name
output consumerGroups array = hubs[0].groups
