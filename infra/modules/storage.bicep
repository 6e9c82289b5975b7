metadata description = 'One storage account: reached by identity alone, with its containers, tables, retention and logs.'

@description('Name of the account: 3 to 24 lower-case letters and digits.')
@minLength(3)
@maxLength(24)
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('keyUri and identityId of the key that what is at rest is encrypted under; empty: the platform\'s own.')
param customerKey object

@description('What the account is for; becomes a tag.')
param purpose string

@description('Redundancy, for example Standard_ZRS.')
param sku string

@description('Names of the blob containers.')
param containers array

@description('Names of the tables.')
param tables array

@description('A hierarchical namespace, for a data lake. It has no versions of blobs.')
param hierarchical bool

@description('Keep earlier versions of blobs.')
param versioning bool

@description('How long a deleted blob or container can be brought back, in days.')
@minValue(1)
@maxValue(365)
param softDeleteDays int

@description('Lifecycle rules as the service spells them.')
param lifecycleRules array

@description('Categories of blob logs: a storage log line costs more than the operation that it tells of.')
param blobLogs array

@description('Reached over private endpoints only.')
param isolated bool

@description('Deleting the account needs the lock to be taken off first.')
param locked bool

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

var ownKey = !empty(customerKey.keyUri)
var keyName = ownKey ? last(split(customerKey.keyUri, '/')) : ''
var keyVaultUri = ownKey ? split(customerKey.keyUri, '/keys/')[0] : ''

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  // checkov:skip=CKV_AZURE_35: denied when `isolated` says so, which a test asserts for each environment
  // checkov:skip=CKV_AZURE_206: redundancy is a parameter; production keeps three zones
  name: name
  location: location
  tags: union(tags, { purpose: purpose })
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  identity: ownKey ? {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${customerKey.identityId}': {}
    }
  } : null
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isHnsEnabled: hierarchical
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isolated ? 'Deny' : 'Allow'
    }
    encryption: {
      keySource: ownKey ? 'Microsoft.Keyvault' : 'Microsoft.Storage'
      identity: ownKey ? {
        userAssignedIdentity: customerKey.identityId
      } : null
      keyvaultproperties: ownKey ? {
        keyname: keyName
        keyvaulturi: keyVaultUri
      } : null
      requireInfrastructureEncryption: true
      services: {
        blob: {
          enabled: true
          keyType: 'Account'
        }
        table: {
          enabled: true
          keyType: 'Account'
        }
      }
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: versioning
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [for one in containers: {
  parent: blobService
  name: one
  properties: {
    publicAccess: 'None'
  }
}]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource table 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' = [for one in tables: {
  parent: tableService
  name: one
}]

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = if (!empty(lifecycleRules)) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: lifecycleRules
    }
  }
  dependsOn: [
    blobService
  ]
}

resource accountDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: account
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobService
  properties: {
    workspaceId: workspaceId
    logs: [for category in blobLogs: {
      category: category
      enabled: true
    }]
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource tableDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: tableService
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'Holds data that exists nowhere else. Take the lock off only to retire the environment.'
  }
}

output id string = account.id
output name string = account.name
output blobUri string = account.properties.primaryEndpoints.blob
output tableUri string = account.properties.primaryEndpoints.table
