metadata description = 'Service Bus with the queues that the app declares: what runs on a laptop is what is deployed.'

@description('Name of the namespace.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('keyUri and identityId of the key that what is at rest is encrypted under; empty: the platform\'s own.')
param customerKey object

@description('Standard shares its throughput with others; Premium has its own, and private endpoints.')
@allowed([
  'Standard'
  'Premium'
])
param sku string

@description('Messaging units of Premium: 1, 2, 4, 8 or 16. Standard has none: 1.')
param capacity int

@description('The most that one queue keeps, in MB.')
param queueSizeMb int

@description('Reached over private endpoints only; needs Premium.')
param isolated bool

@description('Deleting the namespace needs the lock to be taken off first.')
param locked bool

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

var ownKey = !empty(customerKey.keyUri)
var keyName = ownKey ? last(split(customerKey.keyUri, '/')) : ''
var keyVaultUri = ownKey ? split(customerKey.keyUri, '/keys/')[0] : ''

// Dead letters are not forwarded: a job drains them with their reason. Duplicate detection is off
// on purpose: docs/decisions/no-duplicate-detection.md.
var queues = loadJsonContent('../declarations.json').queues
var topics = loadJsonContent('../declarations.json').topics
var subscriptions = loadJsonContent('../declarations.json').subscriptions

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    tier: sku
    capacity: sku == 'Premium' ? capacity : 1
  }
  identity: ownKey ? {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${customerKey.identityId}': {}
    }
  } : null
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
    premiumMessagingPartitions: sku == 'Premium' ? 1 : 0
  }
}

// Event Grid brings secret events as a trusted service, with an identity, when the public way is closed.
resource network 'Microsoft.ServiceBus/namespaces/networkRuleSets@2024-01-01' = if (isolated) {
  parent: namespace
  name: 'default'
  properties: {
    defaultAction: 'Deny'
    publicNetworkAccess: 'Disabled'
    trustedServiceAccessEnabled: true
  }
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = [for one in queues: {
  parent: namespace
  name: one.name
  properties: {
    lockDuration: one.lock
    defaultMessageTimeToLive: one.timeToLive
    deadLetteringOnMessageExpiration: one.deadLettersExpired
    maxDeliveryCount: one.deliveries
    requiresDuplicateDetection: one.duplicateDetection
    duplicateDetectionHistoryTimeWindow: 'PT10M'
    requiresSession: one.sessions
    maxSizeInMegabytes: queueSizeMb
  }
}]

resource topic 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' = [for one in topics: {
  parent: namespace
  name: one.name
  properties: {
    defaultMessageTimeToLive: one.timeToLive
    requiresDuplicateDetection: false
    maxSizeInMegabytes: queueSizeMb
  }
}]

// What comes through goes to a lane at once; the subscription itself keeps what it can not forward.
resource subscription 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = [for one in subscriptions: {
  name: '${name}/${one.topic}/${one.name}'
  properties: {
    forwardTo: one.forwardTo
    lockDuration: one.lock
    defaultMessageTimeToLive: one.timeToLive
    deadLetteringOnMessageExpiration: one.deadLettersExpired
    deadLetteringOnFilterEvaluationExceptions: true
    maxDeliveryCount: one.deliveries
  }
  dependsOn: [
    queue
    topic
  ]
}]

// The service makes a rule of this name with every subscription, and it lets everything through: it is replaced.
resource rule 'Microsoft.ServiceBus/namespaces/topics/subscriptions/rules@2024-01-01' = [for one in subscriptions: {
  name: '${name}/${one.topic}/${one.name}/$Default'
  properties: {
    filterType: 'SqlFilter'
    sqlFilter: {
      sqlExpression: one.where
    }
  }
  dependsOn: [
    subscription
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
    notes: 'Holds messages that were accepted and are not done yet.'
  }
}

output id string = namespace.id
output name string = namespace.name
